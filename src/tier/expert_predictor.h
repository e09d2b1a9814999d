#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace strata::tier {

/// Guesses which experts a router will choose, before its input is there: by applying it to the input of
/// the router before. Hidden states change little from layer to layer.
/// It watches itself: what it guessed is compared with what was chosen.
class ExpertPredictor {
 public:
  /// `weights`: [experts][inputs] of the next router; `states`: [tokens][inputs]; `used`: experts a token.
  /// Returns the experts of all tokens, without repetition. Valid until the next call.
  [[nodiscard]] std::span<const std::uint32_t> predict(std::span<const float> weights,
                                                       std::span<const float> states, std::uint32_t experts,
                                                       std::uint32_t used);

  /// The next step of `group` is expected to use `missing`, which are not in memory.
  void expect(std::uint32_t group, std::span<const std::uint32_t> missing);
  /// A step of `group` uses `chosen`.
  void observe(std::uint32_t group, std::span<const std::uint32_t> chosen);

  /// Whether reading what is predicted saves more time than it wastes: a right guess hides the time of a
  /// read, a wrong one can cost as much.
  [[nodiscard]] bool pays() const { return right_ > 0.5; }

 private:
  std::vector<std::uint32_t> predicted_;
  std::vector<std::pair<float, std::uint32_t>> scores_;
  std::optional<std::uint32_t> expected_group_;
  std::vector<std::uint32_t> expected_;
  double right_ = 1;  // until it is known
};

}  // namespace strata::tier
