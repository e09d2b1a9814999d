#include "tier/experts/expert_predictor.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <utility>

namespace brimful::tier {
namespace {

// The share of right guesses above which a rank is sure. It is high because a read that was not needed delays
// those that are, and most of the time a step waits for the disk.
constexpr double kSure = 0.9;
// The share that is assumed for a rank before its first guess.
constexpr double kUnknown = 0.5;
// The weight of one guess among those of its rank.
constexpr double kWeight = 1.0 / 64;

}  // namespace

std::span<const ExpertPredictor::Guess> ExpertPredictor::guess(std::span<const float> weights,
                                                               std::span<const float> states,
                                                               std::uint32_t experts, std::uint32_t used) {
  const std::size_t inputs = weights.size() / experts;
  const ggml_vec_dot_t dot = ggml_get_type_traits_cpu(GGML_TYPE_F32)->vec_dot;
  guesses_.clear();
  for (; states.size() >= inputs; states = states.subspan(inputs)) {
    scores_.clear();
    for (std::uint32_t expert = 0; expert < experts; ++expert) {
      float score = 0;
      dot(static_cast<int>(inputs), &score, 0, weights.data() + expert * inputs, 0, states.data(), 0, 1);
      scores_.emplace_back(score, expert);
    }
    std::ranges::partial_sort(scores_, scores_.begin() + std::min(used, experts), std::greater<>{});
    for (std::uint32_t rank = 0; rank < std::min(used, experts); ++rank) {
      const auto known = std::ranges::find(guesses_, scores_[rank].second, &Guess::expert);
      if (known == guesses_.end()) {
        guesses_.push_back({scores_[rank].second, rank});
      } else {
        known->rank = std::min(known->rank, rank);
      }
    }
  }
  return guesses_;
}

void ExpertPredictor::expect(std::uint32_t group, std::vector<Guess> guesses) {
  expected_group_ = group;
  expected_ = std::move(guesses);
}

void ExpertPredictor::observe(std::uint32_t group, std::span<const std::uint32_t> chosen) {
  if (std::exchange(expected_group_, std::nullopt) != group) return;
  for (const auto [expert, rank] : expected_) {
    if (right_.size() <= rank) right_.resize(rank + 1, kUnknown);
    const bool was_right = std::ranges::find(chosen, expert) != chosen.end();
    right_[rank] += kWeight * ((was_right ? 1.0 : 0.0) - right_[rank]);
  }
}

bool ExpertPredictor::sure(std::uint32_t rank) const { return rank < right_.size() && right_[rank] > kSure; }

}  // namespace brimful::tier
