#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace brimful::tier {

/// Guesses which experts a router will choose, before its input is there: by applying it to the input of
/// the router before, since hidden states change little from layer to layer.
/// It watches itself: how often a guess was right, by its rank among those for the same token.
class ExpertPredictor {
 public:
  struct Guess {
    std::uint32_t expert = 0;
    std::uint32_t rank = 0;  ///< 0: the surest of its token
  };

  /// `weights`: [experts][inputs] of the next router; `states`: [tokens][inputs]; `used`: experts a token.
  /// Returns each expert once, with its best rank. Valid until the next call.
  [[nodiscard]] std::span<const Guess> guess(std::span<const float> weights, std::span<const float> states,
                                             std::uint32_t experts, std::uint32_t used);

  /// The next step of `group` is expected to use `guesses`, the ones of which it is of interest whether they
  /// are right. A step of `group` uses `chosen`.
  void expect(std::uint32_t group, std::vector<Guess> guesses);
  void observe(std::uint32_t group, std::span<const std::uint32_t> chosen);

  /// Whether guesses of this rank are right so often that reading ahead wastes next to nothing.
  [[nodiscard]] bool sure(std::uint32_t rank) const;

 private:
  std::vector<Guess> guesses_;
  std::vector<std::pair<float, std::uint32_t>> scores_;
  std::optional<std::uint32_t> expected_group_;
  std::vector<Guess> expected_;
  std::vector<double> right_;  // by rank: the share that was, lately
};

}  // namespace brimful::tier
