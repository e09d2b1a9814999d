#include "tier/stream/stream_cycle.h"

#include <algorithm>

namespace brimful::tier {
namespace {

// Unit: entries. Graphs that have not come again by then never will: they are forgotten.
constexpr std::size_t kLongestHistory = 1U << 16;

bool begins_with(std::span<const StreamEntry> all, const std::vector<StreamEntry>& entries) {
  return all.size() >= entries.size() && std::equal(entries.begin(), entries.end(), all.begin());
}

}  // namespace

bool StreamCycle::expected(const std::vector<StreamEntry>& entries) const {
  return begins_with(std::span(cycle_).subspan(position_), entries);
}

StreamCycle::Part StreamCycle::next(const std::vector<StreamEntry>& entries) {
  Part part{.restart = !expected(entries)};
  if (part.restart) learn(entries);
  part.begin = position_;
  position_ += entries.size();
  part.last = position_ == cycle_.size();
  if (part.last) {
    position_ = 0;
    proven_ = !part.restart;
  }
  return part;
}

void StreamCycle::learn(const std::vector<StreamEntry>& entries) {
  const bool comes_again = first_piece_ == entries.size() && begins_with(history_, entries);
  cycle_ = comes_again ? history_ : entries;
  if (comes_again || proven_ || history_.size() > kLongestHistory) history_.clear();
  if (history_.empty()) first_piece_ = entries.size();
  history_.insert(history_.end(), entries.begin(), entries.end());
  position_ = 0;
  proven_ = false;
}

void StreamCycle::forget() { *this = {}; }

}  // namespace brimful::tier
