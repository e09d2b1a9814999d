#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace brimful::tier {

/// Guesses which experts a router will choose, before the router's input exists. It applies the router to the
/// input of the router before, because hidden states change little from layer to layer.
/// It watches itself: for each rank (the position of a guess among those for the same token), it tracks how
/// often the guesses were right.
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

  /// Notes guesses for the next step of `group`. observe() will check them, so pass only the guesses that
  /// matter.
  void expect(std::uint32_t group, std::vector<Guess> guesses);
  /// Tells which experts a step of `group` chose. If the last expect() was for this group, its guesses are
  /// counted as right or wrong.
  void observe(std::uint32_t group, std::span<const std::uint32_t> chosen);

  /// Whether guesses of this rank were right so often lately (more than 90%) that reading ahead wastes next
  /// to nothing.
  [[nodiscard]] bool sure(std::uint32_t rank) const;

 private:
  std::vector<Guess> guesses_;
  std::vector<std::pair<float, std::uint32_t>> scores_;
  std::optional<std::uint32_t> expected_group_;
  std::vector<Guess> expected_;
  // Indexed by rank: the share of guesses that were right lately.
  std::vector<double> right_;
};

}  // namespace brimful::tier
