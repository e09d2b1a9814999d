#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace brimful::tier {

/// Guesses which experts a router will choose, before the router's input exists. It applies the router to the
/// input of the router before, because hidden states change little from layer to layer.
/// It watches itself: for each rank (the position of a guess among those for the same token) and for each
/// group, it tracks how often the guesses were right.
/// Threading: one thread at a time.
class ExpertPredictor {
 public:
  struct Guess {
    std::uint32_t expert = 0;
    /// 0 is the surest guess for its token.
    std::uint32_t rank = 0;
  };

  /// `weights` is the next router's matrix, [experts][inputs]; `states` has a row for each token,
  /// [tokens][inputs]; `used` is the number of experts that a token uses. Returns each guessed expert once,
  /// with its best rank. The result is valid until the next call.
  [[nodiscard]] std::span<const Guess> guess(std::span<const float> weights, std::span<const float> states,
                                             std::uint32_t experts, std::uint32_t used);

  /// Tells which experts, in ascending order, a step of `group` chose, for which there were these guesses.
  /// Pass only the guesses that matter.
  void observe(std::uint32_t group, std::span<const Guess> guesses, std::span<const std::uint32_t> chosen);

  /// The share of the guesses for this group that were right lately.
  [[nodiscard]] double right(std::uint32_t group) const;
  /// Whether guesses of this rank, and those for this group, were right more often than not lately.
  [[nodiscard]] bool pays(std::uint32_t group, std::uint32_t rank) const;

 private:
  std::vector<Guess> guesses_;
  std::vector<std::pair<float, std::uint32_t>> scores_;
  // The share of guesses that were right lately, by rank and by group.
  std::vector<double> right_of_rank_;
  std::vector<double> right_of_group_;
};

}  // namespace brimful::tier
