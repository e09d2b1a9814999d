#pragma once

#include <span>
#include <vector>

#include "tier/stream/streamer.h"

namespace brimful::tier {

/// Puts the parts of a pass together that stream: where other devices compute some of a graph, the rest comes
/// in several pieces, one after the other. The reader must know what comes after the piece at hand, so the
/// pieces are remembered until the first one comes again; from then on all of them are one schedule.
/// Threading: none.
class StreamCycle {
 public:
  struct Part {
    std::size_t begin = 0;  ///< of its entries, in entries()
    bool restart = false;   ///< entries() is another schedule than before
    bool last = false;      ///< of the schedule
  };

  /// Where the piece lies that streams `entries`, which are not none. The schedule may begin at any piece.
  [[nodiscard]] Part next(const std::vector<StreamEntry>& entries);

  [[nodiscard]] const std::vector<StreamEntry>& entries() const { return cycle_; }

  /// A pass was broken off.
  void forget();

 private:
  [[nodiscard]] bool expected(const std::vector<StreamEntry>& entries) const;
  void learn(const std::vector<StreamEntry>& entries);

  std::vector<StreamEntry> cycle_;
  std::size_t position_ = 0;          // in cycle_, of the next piece
  bool proven_ = false;               // it came to its end as expected
  std::vector<StreamEntry> history_;  // pieces, from the one on that may begin a cycle
  std::size_t first_piece_ = 0;       // entries of that one
};

}  // namespace brimful::tier
