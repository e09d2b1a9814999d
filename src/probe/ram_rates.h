#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "memory/region.h"

namespace brimful::probe {

/// The rates of memory.
struct RamRates {
  /// The rate at which all threads together read.
  double read_bytes_per_s = 0;
  /// The rate at which memory becomes present when it is touched for the first time.
  double touch_bytes_per_s = 0;
};

/// Threads that read memory again and again, as fast as they can, as long as this object exists.
class MemoryReaders {
 public:
  /// Starts `threads` threads. Errors: those of Region. Holds: 256 MiB.
  [[nodiscard]] static Result<std::unique_ptr<MemoryReaders>> start(int threads);
  ~MemoryReaders();
  MemoryReaders(const MemoryReaders&) = delete;
  MemoryReaders& operator=(const MemoryReaders&) = delete;

  /// The bytes that all threads together have read.
  [[nodiscard]] Bytes read() const { return Bytes{read_}; }

 private:
  explicit MemoryReaders(memory::Region region) : region_(std::move(region)) {}
  void read_again(std::size_t thread, std::size_t threads);

  memory::Region region_;
  std::atomic<std::uint64_t> read_ = 0;
  // The sum of what was read, so that the compiler does not remove the reads.
  std::atomic<std::uint64_t> sum_ = 0;
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

/// Measures the memory with `threads` threads.
/// Errors: those of Region; kInternal. Blocks: about a second. Holds: 512 MiB while it measures.
[[nodiscard]] Result<RamRates> measure_ram(int threads);

}  // namespace brimful::probe
