#pragma once

#include <span>
#include <vector>

#include "tier/stream/streamer.h"

namespace brimful::tier {

/// Joins the pieces of a pass that stream weights into one schedule. Where other devices compute some of a
/// graph, the rest of it comes in several pieces, one after the other. The reader must know what comes after
/// the current piece. So this class remembers the pieces until the first one comes again; from then on all of
/// them are one schedule.
/// Threading: none.
class StreamCycle {
 public:
  /// A piece of the schedule.
  struct Part {
    /// Index into entries() of the piece's first entry.
    std::size_t begin = 0;
    /// Whether entries() is another schedule than before the call.
    bool restart = false;
    /// Whether the schedule ends with this piece.
    bool last = false;
  };

  /// Returns where in the schedule the next piece lies, which streams `entries`. `entries` must not be empty.
  /// The schedule may begin with any piece.
  [[nodiscard]] Part next(const std::vector<StreamEntry>& entries);

  /// The entries of the whole schedule.
  [[nodiscard]] const std::vector<StreamEntry>& entries() const { return cycle_; }

  /// Forgets the schedule: a pass was broken off.
  void forget();

 private:
  [[nodiscard]] bool expected(const std::vector<StreamEntry>& entries) const;
  void learn(const std::vector<StreamEntry>& entries);

  std::vector<StreamEntry> cycle_;
  // Index into cycle_ where the next piece begins.
  std::size_t position_ = 0;
  // Whether the schedule came to its end as expected.
  bool proven_ = false;
  // The entries of the past pieces, from the first one on that may begin a cycle.
  std::vector<StreamEntry> history_;
  // Number of entries of the first piece in history_.
  std::size_t first_piece_ = 0;
};

}  // namespace brimful::tier
