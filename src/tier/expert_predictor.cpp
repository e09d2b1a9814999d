#include "tier/expert_predictor.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <utility>

namespace strata::tier {

std::span<const std::uint32_t> ExpertPredictor::predict(std::span<const float> weights,
                                                        std::span<const float> states, std::uint32_t experts,
                                                        std::uint32_t used) {
  const std::size_t inputs = weights.size() / experts;
  const ggml_vec_dot_t dot = ggml_get_type_traits_cpu(GGML_TYPE_F32)->vec_dot;
  predicted_.clear();
  for (; states.size() >= inputs; states = states.subspan(inputs)) {
    scores_.clear();
    for (std::uint32_t expert = 0; expert < experts; ++expert) {
      float score = 0;
      dot(static_cast<int>(inputs), &score, 0, weights.data() + expert * inputs, 0, states.data(), 0, 1);
      scores_.emplace_back(score, expert);
    }
    const auto end = scores_.begin() + std::min(used, experts);
    std::ranges::partial_sort(scores_, end, std::greater<>{});
    for (auto it = scores_.begin(); it != end; ++it) {
      if (std::ranges::find(predicted_, it->second) == predicted_.end()) predicted_.push_back(it->second);
    }
  }
  return predicted_;
}

void ExpertPredictor::expect(std::uint32_t group, std::span<const std::uint32_t> missing) {
  expected_group_ = group;
  expected_.assign(missing.begin(), missing.end());
}

void ExpertPredictor::observe(std::uint32_t group, std::span<const std::uint32_t> chosen) {
  constexpr double kWeight = 1.0 / 256;  // of one guess: a few tokens' worth is remembered
  if (std::exchange(expected_group_, std::nullopt) != group) return;
  for (const std::uint32_t expert : expected_) {
    const bool was_right = std::ranges::find(chosen, expert) != chosen.end();
    right_ += kWeight * ((was_right ? 1.0 : 0.0) - right_);
  }
}

}  // namespace strata::tier
