#pragma once

#include <algorithm>
#include <chrono>

namespace brimful::foreign {

/// Processor time that the tokens of one answer may take under its grammar, where other answers wait for
/// them. Single tokens may take long; many in a row may not: otherwise one grammar that is just below the
/// limit of a token would slow down everybody for as long as its answer is written. Threading: one thread.
class TimeAllowance {
 public:
  static constexpr std::chrono::milliseconds kForToken{100};  ///< On average, in the long run.
  static constexpr std::chrono::milliseconds kAhead{2000};    ///< What it may take before that counts.

  /// Of the next token. Above zero.
  [[nodiscard]] std::chrono::milliseconds left() const {
    return std::max(std::chrono::duration_cast<std::chrono::milliseconds>(left_),
                    std::chrono::milliseconds(1));
  }
  /// One token took so long.
  void spend(std::chrono::nanoseconds time) {
    left_ =
        std::clamp<std::chrono::nanoseconds>(left_ - time + kForToken, std::chrono::nanoseconds(0), kAhead);
  }

 private:
  std::chrono::nanoseconds left_ = kAhead;
};

}  // namespace brimful::foreign
