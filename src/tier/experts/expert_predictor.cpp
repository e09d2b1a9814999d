#include "tier/experts/expert_predictor.h"

#include <ggml-cpu.h>

#include <algorithm>

namespace brimful::tier {
namespace {

// The share of right guesses from which on reading them pays: a wrong read may delay a right one for as long
// as a right read is ahead.
constexpr double kPays = 0.5;
// The share that is assumed before the first guess.
constexpr double kUnknown = 0.5;
// The weight of one guess among those of its rank, and among those of its group.
constexpr double kOfRank = 1.0 / 64;
constexpr double kOfGroup = 1.0 / 32;

void add(std::vector<double>& shares, std::uint32_t at, double weight, bool was_right) {
  if (shares.size() <= at) shares.resize(at + 1, kUnknown);
  shares[at] += weight * ((was_right ? 1.0 : 0.0) - shares[at]);
}

bool is_high(std::span<const double> shares, std::uint32_t at) {
  return at < shares.size() && shares[at] > kPays;
}

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

void ExpertPredictor::observe(std::uint32_t group, std::span<const Guess> guesses,
                              std::span<const std::uint32_t> chosen) {
  for (const auto [expert, rank] : guesses) {
    const bool was_right = std::ranges::binary_search(chosen, expert);
    add(right_of_rank_, rank, kOfRank, was_right);
    add(right_of_group_, group, kOfGroup, was_right);
  }
}

double ExpertPredictor::right(std::uint32_t group) const {
  return group < right_of_group_.size() ? right_of_group_[group] : kUnknown;
}

bool ExpertPredictor::pays(std::uint32_t group, std::uint32_t rank) const {
  return is_high(right_of_rank_, rank) && is_high(right_of_group_, group);
}

}  // namespace brimful::tier
