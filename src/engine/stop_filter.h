#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace brimful::engine {

/// Finds stop strings in a text that arrives in pieces. It holds back text that may be the beginning of a
/// stop string.
class StopFilter {
 public:
  /// `stops` outlives this.
  explicit StopFilter(const std::vector<std::string>& stops) : stops_(stops) {}

  /// Adds a piece. Returns the text that can be shown now: nothing of a stop string, and nothing behind it.
  std::string add(const std::string& piece) {
    held_ += piece;
    std::size_t cut = std::string::npos;
    for (const std::string& stop : stops_) cut = std::min(cut, held_.find(stop));
    if (cut != std::string::npos) {
      stopped_ = true;
      held_.resize(cut);
      return std::exchange(held_, {});
    }
    std::size_t keep = 0;
    for (const std::string& stop : stops_) {
      for (std::size_t n = std::min(stop.size(), held_.size()); n > keep; --n) {
        if (held_.ends_with(std::string_view(stop).substr(0, n))) keep = n;
      }
    }
    std::string shown = held_.substr(0, held_.size() - keep);
    held_.erase(0, shown.size());
    return shown;
  }

  /// The text that is still held back. Call it once, when the text has ended.
  std::string rest() { return std::exchange(held_, {}); }
  /// Whether a stop string was found.
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  const std::vector<std::string>& stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace brimful::engine
