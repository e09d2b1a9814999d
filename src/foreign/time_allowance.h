#pragma once

#include <algorithm>
#include <chrono>

namespace brimful::foreign {

/// The processor time that the tokens of one answer may take under its grammar, while other answers wait for
/// them. A single token may take long, but not many in a row. Otherwise one grammar just below the limit for
/// a token would slow down everybody for as long as its answer is being generated. Not thread-safe.
class TimeAllowance {
 public:
  /// The time for each token, on average, in the long run.
  static constexpr std::chrono::milliseconds kForToken{100};
  /// The time that an answer has in advance.
  static constexpr std::chrono::milliseconds kAhead{2000};

  /// The time for the next token; at least 1 ms.
  [[nodiscard]] std::chrono::milliseconds left() const {
    return std::max(std::chrono::duration_cast<std::chrono::milliseconds>(left_),
                    std::chrono::milliseconds(1));
  }
  /// Subtracts the time that one token took.
  void spend(std::chrono::nanoseconds time) {
    left_ =
        std::clamp<std::chrono::nanoseconds>(left_ - time + kForToken, std::chrono::nanoseconds(0), kAhead);
  }

 private:
  std::chrono::nanoseconds left_ = kAhead;
};

}  // namespace brimful::foreign
