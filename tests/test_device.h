#pragma once

#include <ggml-backend-impl.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "base/bytes.h"

namespace brimful::tests {

/// A ggml device that stands in for a GPU: memory of its own that nobody else can touch (an access from
/// outside is a segmentation fault, while the device is idle), a hard capacity, a queue that works
/// asynchronously, a link with a rate. It computes with ggml's CPU kernels. Threading: as ggml's devices.
/// Lifetime: outlives what is made with it.
class TestDevice {
 public:
  struct Options {
    const char* name = "TEST0";
    Bytes capacity = Bytes{1} * kGiB.value;
    int threads = 2;
    double bytes_per_s = 0;                ///< of the link, both ways; 0: as fast as memory
    std::chrono::microseconds latency{0};  ///< of each copy
    int fail_allocation = -1;              ///< the Nth, from 0
    int fail_graph = -1;
    int fail_copy =
        -1;  ///< to the device. ggml's copies cannot fail: as with CUDA, every graph behind it does
    bool has_pinned = false;  ///< it has pinned memory of its own, and
    bool pins = true;         ///< can pin that of others
  };

  explicit TestDevice(const Options& options);
  ~TestDevice();
  TestDevice(const TestDevice&) = delete;
  TestDevice& operator=(const TestDevice&) = delete;

  [[nodiscard]] ggml_backend_dev_t handle() { return &device_; }
  [[nodiscard]] Bytes used() const { return Bytes{used_}; }
  [[nodiscard]] Bytes peak() const { return Bytes{peak_}; }
  /// Copied to the device.
  [[nodiscard]] Bytes received() const { return Bytes{received_}; }
  [[nodiscard]] std::uint64_t nodes_computed() const { return nodes_; }
  /// Of a KV cache, in one attention.
  [[nodiscard]] std::int64_t most_cells() const { return most_cells_; }
  /// Memory of others that is pinned now, of all such devices.
  [[nodiscard]] static Bytes pinned();
  [[nodiscard]] int allocations() const { return allocations_; }
  [[nodiscard]] int copies() const { return copies_; }  ///< to the device

  struct Times {
    std::chrono::duration<double> computing{0};
    std::chrono::duration<double> copying{0};
    std::chrono::duration<double> both{0};  ///< at the same time
  };
  [[nodiscard]] Times times() const;

 private:
  friend struct TestDeviceCalls;
  class Memory;
  class Queue;
  class Work;

  void copied(Bytes bytes) const;
  [[nodiscard]] bool claim(std::uint64_t size);

  const Options options_;
  ggml_backend_device device_{};
  ggml_backend_reg reg_{};
  ggml_backend_buffer_type type_{};
  std::atomic<std::uint64_t> used_ = 0;
  std::atomic<std::uint64_t> peak_ = 0;
  std::atomic<std::uint64_t> received_ = 0;
  std::atomic<std::uint64_t> nodes_ = 0;
  std::atomic<std::int64_t> most_cells_ = 0;
  mutable std::mutex times_mutex_;
  mutable Times times_;
  mutable std::chrono::steady_clock::time_point changed_;
  mutable int computing_ = 0;
  mutable int copying_ = 0;
  std::atomic<int> copies_ = 0;
  std::atomic<bool> broken_ = false;
  int allocations_ = 0;
  int graphs_ = 0;
};

}  // namespace brimful::tests
