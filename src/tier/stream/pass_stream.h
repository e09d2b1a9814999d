#pragma once

#include <vector>

#include "tier/stream/stream_cycle.h"
#include "tier/stream/streamer.h"

namespace brimful::tier {

/// The streamed weights of a pass that comes in pieces: begin(), then wait() and release() as the computing
/// goes on, end(); or abandon() where a piece fails.
/// Threading: one consumer.
class PassStream {
 public:
  /// As Streamer's.
  PassStream(const DiskFiles& files, ReaderFactory make_reader, std::byte* ring, Bytes ring_size,
             Trace* trace = nullptr)
      : streamer_(files, std::move(make_reader), ring, ring_size, trace) {}

  /// A piece begins that streams `entries`, perhaps none. Errors: those of Streamer::start.
  [[nodiscard]] Status begin(const std::vector<StreamEntry>& entries);
  /// Where entry `i` of the piece lies, once wait() has returned for it.
  [[nodiscard]] std::byte* slot(std::size_t i) const { return streamer_.slot(part_.begin + i); }
  /// Blocks until all entries before `count` of the piece are in their slots. Errors: those of the reads.
  [[nodiscard]] Status wait(std::size_t count);
  /// The piece needs none of its entries before `count` any more.
  void release(std::size_t count);
  /// Requires: all entries of the piece were released.
  void end();
  /// The pass ends here: the next one starts afresh.
  void abandon();

  [[nodiscard]] StreamStatistics statistics() const { return streamer_.statistics(); }

  /// Heap for each entry: its slot, and the lists of the cycle.
  [[nodiscard]] static Bytes bytes_per_entry() {
    return Streamer::bytes_per_entry() + Bytes{2 * sizeof(StreamEntry)};
  }

 private:
  Streamer streamer_;
  StreamCycle cycle_;
  StreamCycle::Part part_;
  std::size_t waited_ = 0;
};

}  // namespace brimful::tier
