#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "tier/io/disk_reader.h"
#include "tier/stream/trace.h"

namespace brimful::tier {

/// One streamed unit of the pass: the whole blocks that hold it, or exactly its bytes where the reader can
/// read any bytes.
struct StreamEntry {
  /// Index into DiskFiles::files().
  std::uint32_t file = 0;
  /// Bytes from the start of the file.
  std::uint64_t offset = 0;
  /// Bytes to read.
  std::uint64_t span = 0;
  /// Bytes behind them in the slot that belong to the unit, too. The streamer keeps them free, and does not
  /// write to them.
  std::uint64_t padding = 0;
  /// Where it is not 0, the unit consists of pieces of so many bytes, such as the experts of a matrix, and
  /// each read stays within one.
  std::uint64_t piece = 0;

  bool operator==(const StreamEntry&) const = default;
};

struct StreamStatistics {
  /// Bytes that were asked from the reader since the streamer was made.
  Bytes read;
  /// Time that the consumer waited for data.
  std::chrono::nanoseconds stalled{0};
};

/// Reads a fixed sequence of units through a ring, pass after pass, ahead of the compute.
/// The schedule is static and periodic: an entry has the same slot in every pass. The reader fills a slot
/// again only when everything that lay there has been released, in order.
/// Threading: one consumer calls everything; a thread of the streamer's own reads.
class Streamer {
 public:
  /// `ring` is aligned to 4096 bytes and outlives the streamer, as do `files` and `trace`. The streamer
  /// itself never accesses the ring: a reader may use an address that this process cannot touch. `trace` may
  /// be null.
  Streamer(const DiskFiles& files, ReaderFactory make_reader, std::byte* ring, Bytes ring_size,
           Trace* trace = nullptr);
  ~Streamer();
  Streamer(const Streamer&) = delete;
  Streamer& operator=(const Streamer&) = delete;

  /// Starts to read `entries`, from the first one on. It drops what was read ahead for another schedule, and
  /// forgets an earlier read error, so that a passing fault does not end the process.
  /// Errors: those of making a reader; kInternal where no thread can be started. Nothing is read then.
  /// Requires: every span fits the ring, with its padding.
  [[nodiscard]] Status start(std::vector<StreamEntry> entries);
  /// Stops the reading thread once the reads in flight have ended. Afterwards there is no schedule.
  void stop();

  /// Whether `entries` is the current schedule and no read of it has failed.
  [[nodiscard]] bool running(const std::vector<StreamEntry>& entries) const;

  /// The address of entry `i`: the same in every pass, and filled once wait(i) has returned.
  [[nodiscard]] std::byte* slot(std::size_t i) const { return ring_ + slots_[i].offset; }

  /// Blocks until entry `i` of the current pass is in its slot. Errors: the first error of any read since
  /// start().
  [[nodiscard]] Status wait(std::size_t i);
  /// Whether wait(i) would return at once.
  [[nodiscard]] bool ready(std::size_t i) const;
  /// Tells that the consumer is done with the first `count` entries of the current pass.
  void release(std::size_t count);
  /// Begins the next pass. Requires: all entries of the current pass were released.
  void next_pass();

  [[nodiscard]] StreamStatistics statistics() const;

  /// Heap bytes for each entry.
  [[nodiscard]] static Bytes bytes_per_entry() { return Bytes{sizeof(StreamEntry) + sizeof(Slot)}; }

 private:
  struct Slot {
    std::uint64_t offset = 0;
    // The last entry that shares bytes with this slot lies this many entries back. At least 1: in the end, an
    // entry shares its slot with itself, one pass ago.
    std::uint64_t wait_for = 0;
    // Passes for which the entry has been read.
    std::uint64_t loaded = 0;
    // Reads of the entry that have not ended.
    std::uint32_t blocks_left = 0;
  };

  void assign_slots();
  void read_loop(DiskReader& reader);
  [[nodiscard]] bool can_read() const;   // requires mutex_
  [[nodiscard]] BlockRead next_block();  // requires mutex_ and can_read()
  void take(const BlockDone& done);      // requires mutex_
  void trace_submission(const BlockRead& read);
  void trace_completion(const BlockDone& done);
  /// Records that the entries [first, end), counted through all passes, came into the ring or left it.
  /// Requires mutex_.
  void trace_ring(std::uint64_t first, std::uint64_t end, bool came);

  const DiskFiles& files_;
  const ReaderFactory make_reader_;
  std::byte* const ring_;
  const Bytes ring_size_;
  Trace* const trace_;

  std::vector<StreamEntry> entries_;
  std::vector<Slot> slots_;
  std::unique_ptr<DiskReader> reader_;
  std::thread thread_;

  mutable std::mutex mutex_;
  // Wakes the reading thread: slots were released.
  std::condition_variable space_;
  // Wakes the consumer: an entry was read, or a read failed.
  std::condition_variable loaded_;
  bool stop_ = false;
  std::optional<Error> error_;
  // The consumer's current pass, from 0 on.
  std::uint64_t pass_ = 0;
  // Number of released entries, counted through all passes.
  std::uint64_t released_ = 0;
  // The entry to read next, counted through all passes.
  std::uint64_t next_ = 0;
  // Offset in the entry `next_` of the next byte to read.
  std::uint64_t next_byte_ = 0;
  StreamStatistics statistics_;
  // Bytes of the entries that were read and are not released yet. Counted only with a trace.
  std::uint64_t waiting_ = 0;

  // A read that a line of the trace shows.
  struct TracedRead {
    std::uint64_t entry;
    std::uint64_t bytes;
    Trace::Clock::time_point begin;
    bool busy = false;
  };
  // Indexed by line of the trace. Only the reading thread uses it.
  std::vector<TracedRead> traced_;
};

}  // namespace brimful::tier
