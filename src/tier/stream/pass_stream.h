#pragma once

#include <vector>

#include "tier/stream/stream_cycle.h"
#include "tier/stream/streamer.h"

namespace brimful::tier {

/// Streams the weights of a pass that comes in pieces, because other devices compute the rest of the graph.
/// For each piece: begin(), then wait() and release() as the computation goes on, then end(); or abandon()
/// where a piece fails.
/// Threading: one consumer.
class PassStream {
 public:
  /// The arguments are those of Streamer's constructor.
  PassStream(const DiskFiles& files, ReaderFactory make_reader, std::byte* ring, Bytes ring_size,
             Trace* trace = nullptr)
      : streamer_(files, std::move(make_reader), ring, ring_size, trace) {}

  /// Begins a piece that streams `entries`, in this order; there may be none. Errors: those of
  /// Streamer::start.
  [[nodiscard]] Status begin(const std::vector<StreamEntry>& entries);
  /// The address of entry `i` of the piece, once wait(i + 1) has returned.
  [[nodiscard]] std::byte* slot(std::size_t i) const { return streamer_.slot(part_.begin + i); }
  /// Blocks until the first `count` entries of the piece are in their slots. Errors: those of the reads.
  [[nodiscard]] Status wait(std::size_t count);
  /// Whether wait(count) would return at once.
  [[nodiscard]] bool ready(std::size_t count) const;
  /// Frees the slots of the first `count` entries of the piece: nobody reads them any more.
  void release(std::size_t count);
  /// Ends the piece. Requires: all entries of the piece were released.
  void end();
  /// Stops the reads and ends the pass. The next piece starts as if nothing had been read.
  void abandon();

  [[nodiscard]] StreamStatistics statistics() const { return streamer_.statistics(); }

  /// Heap bytes for each entry: its slot, and the lists of the cycle.
  [[nodiscard]] static Bytes bytes_per_entry() {
    return Streamer::bytes_per_entry() + Bytes{2 * sizeof(StreamEntry)};
  }

 private:
  Streamer streamer_;
  StreamCycle cycle_;
  StreamCycle::Part part_;
  // Entries of the piece that wait() has seen in their slots.
  std::size_t waited_ = 0;
};

}  // namespace brimful::tier
