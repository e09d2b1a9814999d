#include "tier/experts/read_ahead.h"

#include <algorithm>

namespace brimful::tier {
namespace {

// Wrong guesses that may be read for each expert that a step missed.
constexpr double kWrongPerMissed = 0.035;
// The most wrong guesses that are saved up.
constexpr double kMostSaved = 1;
// As if one guess in so many were wrong even where none was lately.
constexpr double kOneIn = 32;
constexpr std::size_t kLargestWindow = 16;

}  // namespace

std::size_t ReadAhead::allowed(std::uint32_t group, double wrong) const {
  const double affordable = std::max(allowance_, 0.0) / std::max(wrong, 1 / kOneIn);
  return std::min(group < window_.size() ? window_[group] : 1, static_cast<std::size_t>(affordable));
}

void ReadAhead::missed(std::size_t experts) {
  allowance_ = std::min(allowance_ + kWrongPerMissed * static_cast<double>(experts), kMostSaved);
}

void ReadAhead::tell(std::uint32_t group, const Outcome& outcome) {
  allowance_ -= static_cast<double>(outcome.wrong);
  if (group >= window_.size()) window_.resize(group + 1, 1);
  std::size_t& window = window_[group];
  if (outcome.late) {
    window = std::max<std::size_t>(window - 1, 1);
  } else if (outcome.read == window) {
    window = std::min(window + 1, kLargestWindow);
  }
}

}  // namespace brimful::tier
