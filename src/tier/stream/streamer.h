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

/// One streamed unit in the order of the pass: the whole blocks that hold it; or just its bytes, where the
/// reader can.
struct StreamEntry {
  std::uint32_t file = 0;
  std::uint64_t offset = 0;
  std::uint64_t span = 0;  ///< bytes

  bool operator==(const StreamEntry&) const = default;
};

struct StreamStatistics {
  Bytes read;                           ///< from disk, since the start
  std::chrono::nanoseconds stalled{0};  ///< the compute side waited for data
};

/// Reads a fixed sequence of units, pass after pass, through a ring, ahead of the compute.
/// The schedule is static and periodic: an entry has the same slot in every pass. A slot is read into again
/// only when everything that lay there has been released, in order.
/// Threading: one consumer calls everything; reading happens on a thread of the streamer's own.
class Streamer {
 public:
  /// `ring` is 4096-aligned and outlives the streamer, as do `files`. It is only an address here: a reader
  /// may know of memory that this process cannot touch.
  Streamer(const DiskFiles& files, ReaderFactory make_reader, std::byte* ring, Bytes ring_size,
           Trace* trace = nullptr);
  ~Streamer();
  Streamer(const Streamer&) = delete;
  Streamer& operator=(const Streamer&) = delete;

  /// Starts reading `entries` from the first on. What was read ahead for another schedule is dropped; an
  /// earlier read error is forgotten, so that a passing fault does not end the process.
  /// Requires: every span fits the ring.
  [[nodiscard]] Status start(std::vector<StreamEntry> entries);
  void stop();

  [[nodiscard]] bool running(const std::vector<StreamEntry>& entries) const;

  /// Where entry `i` lies, in every pass, once wait(i) has returned.
  [[nodiscard]] std::byte* slot(std::size_t i) const { return ring_ + slots_[i].offset; }

  /// Blocks until entry `i` of the current pass is in its slot. Errors: those of the reads.
  [[nodiscard]] Status wait(std::size_t i);
  /// The consumer is done with all entries before `count` of the current pass.
  void release(std::size_t count);
  /// Requires: all entries of this pass were released.
  void next_pass();

  [[nodiscard]] StreamStatistics statistics() const;

  /// Heap for each entry.
  [[nodiscard]] static Bytes bytes_per_entry() { return Bytes{sizeof(StreamEntry) + sizeof(Slot)}; }

 private:
  struct Slot {
    std::uint64_t offset = 0;
    std::uint64_t wait_for = 0;  // how many entries back the last one lies that shares the slot; 0: none
    std::uint64_t loaded = 0;    // passes for which the entry has been read
    std::uint32_t blocks_left = 0;
  };

  void assign_slots();
  void read_loop(DiskReader& reader);
  [[nodiscard]] bool can_read() const;   // requires mutex_
  [[nodiscard]] BlockRead next_block();  // requires mutex_ and can_read()
  void take(const BlockDone& done);      // requires mutex_
  void trace_submission(const BlockRead& read);
  void trace_completion(const BlockDone& done);
  /// Entries [first, end), counted through all passes, came into the ring or left it. Requires mutex_.
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
  std::condition_variable space_;   // for the reader
  std::condition_variable loaded_;  // for the consumer
  bool stop_ = false;
  std::optional<Error> error_;
  std::uint64_t pass_ = 0;       // consumer's
  std::uint64_t released_ = 0;   // entries, counted through all passes
  std::uint64_t next_ = 0;       // entry to read, counted through all passes
  std::uint64_t next_byte_ = 0;  // within it
  StreamStatistics statistics_;
  std::uint64_t waiting_ = 0;  // bytes of entries that were read and are not released; only where traced

  struct TracedRead {
    std::uint64_t entry;
    std::uint64_t bytes;
    Trace::Clock::time_point begin;
    bool busy = false;
  };
  std::vector<TracedRead> traced_;  // by line of the picture; the reader thread's
};

}  // namespace brimful::tier
