#pragma once

#include <ggml-backend.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "base/bytes.h"
#include "device_contract.h"

namespace brimful::tests {

/// A ggml device that stands in for a GPU. It has memory of its own that nobody else can touch (while the
/// device is idle, an access from outside is a segmentation fault), a hard capacity, an asynchronous queue,
/// and a link with a rate. It computes with ggml's CPU kernels.
/// Threading: as for ggml's devices. Lifetime: it outlives everything that is made with it.
class TestDevice {
 public:
  struct Options {
    const char* name = "TEST0";
    const char* description = "a device for tests";
    /// The PCI address that the device reports. Null: none.
    const char* address = nullptr;
    Bytes capacity = Bytes{1} * kGiB.value;
    int threads = 2;
    /// The rate of the link in each direction; 0: as fast as memory.
    double bytes_per_s = 0;
    /// The latency of each copy.
    std::chrono::microseconds latency{0};
    // The numbers of the allocation, graph and copy to the device that fail. They count from 0; -1: none
    // fails. ggml's copies cannot report an error, so, as with CUDA, every graph after the failed copy
    // fails.
    int fail_allocation = -1;
    int fail_graph = -1;
    int fail_copy = -1;
    /// Whether the device has a buffer type for pinned host memory.
    bool has_pinned = false;
    /// Whether the device can pin memory that was allocated elsewhere.
    bool pins = true;
    /// Whether the device has events, and so copies while it computes.
    bool events = true;
    /// What the driver takes of the device's memory for each graph that it keeps.
    Bytes graph = {};
    /// Products and attention of this number of tokens or more get other last bits, as if their kernel summed
    /// in another order. 1: all of them do, so that the device's bits are not those of the host. 0: none
    /// does.
    int other_bits_from = 0;
    /// Whether the activation behind products of one token gets other last bits than behind those of several,
    /// as if the device computed them in one kernel.
    bool fuses = false;
  };

  explicit TestDevice(const Options& options);
  ~TestDevice();
  TestDevice(const TestDevice&) = delete;
  TestDevice& operator=(const TestDevice&) = delete;

  [[nodiscard]] ggml_backend_dev_t handle() { return device_.get(); }
  [[nodiscard]] Bytes used() const { return Bytes{used_}; }
  /// What the driver takes for graphs, and for the page tables of pinned memory.
  [[nodiscard]] Bytes driver() const;
  [[nodiscard]] Bytes peak() const { return Bytes{peak_}; }
  /// The bytes that were copied to the device.
  [[nodiscard]] Bytes received() const { return Bytes{received_}; }
  [[nodiscard]] std::uint64_t nodes_computed() const { return nodes_; }
  /// The numbers of cells of a KV cache that attention nodes used.
  [[nodiscard]] std::set<std::int64_t> cells() const;
  /// The memory from elsewhere that is pinned now by all test devices together.
  [[nodiscard]] static Bytes pinned();
  [[nodiscard]] int allocations() const { return allocations_; }
  /// The number of copies of more than 64 KiB for which a thread had to wait: those without a queue, and
  /// those from and to memory that is not pinned.
  [[nodiscard]] int blocking_copies() const { return blocking_copies_; }
  /// How often graphs had to be recorded: DeviceContract::recorded().
  [[nodiscard]] int recorded() const { return contract_.recorded(); }
  /// The number of graphs without an uid: these have to be compared node by node.
  [[nodiscard]] int without_uid() const { return without_uid_; }
  /// The number of graphs that the device was asked to optimise.
  [[nodiscard]] int optimized() const { return optimized_; }
  /// The number of graphs that it keeps: DeviceContract::graphs().
  [[nodiscard]] int graphs() const { return contract_.graphs(); }
  /// The number of graphs that were queued.
  [[nodiscard]] int launches() const { return graphs_; }
  /// How often a thread waited for a queue.
  [[nodiscard]] int waits() const { return waits_; }
  /// The bytes that were copied from the device.
  [[nodiscard]] Bytes given() const { return Bytes{given_}; }
  /// The number of copies to the device.
  [[nodiscard]] int copies() const { return copies_; }
  /// The number of calls that would have started a driver context on a card.
  [[nodiscard]] int touched() const { return touched_; }

  struct Times {
    std::chrono::duration<double> computing{0};
    std::chrono::duration<double> copying{0};
    std::chrono::duration<double> both{0};  ///< The time in which the device computed and copied at once.
  };
  [[nodiscard]] Times times() const;

 private:
  friend struct TestDeviceCalls;
  class Memory;
  class Queue;
  class Work;

  void copied(Bytes bytes) const;
  [[nodiscard]] bool changes_bits_of(const ggml_tensor& node) const;
  [[nodiscard]] bool claim(std::uint64_t size);

  const Options options_;
  const std::unique_ptr<ggml_backend_device> device_;
  const std::unique_ptr<ggml_backend_reg> reg_;
  const std::unique_ptr<ggml_backend_buffer_type> type_;
  std::atomic<std::uint64_t> used_ = 0;
  std::atomic<std::uint64_t> peak_ = 0;
  std::atomic<std::uint64_t> received_ = 0;
  std::atomic<std::uint64_t> nodes_ = 0;
  mutable std::mutex cells_mutex_;
  std::set<std::int64_t> cells_;
  std::atomic<std::uint64_t> given_ = 0;
  std::atomic<int> waits_ = 0;
  mutable std::mutex times_mutex_;
  mutable Times times_;
  mutable std::chrono::steady_clock::time_point changed_;
  mutable int computing_ = 0;
  mutable int copying_ = 0;
  DeviceContract contract_;
  std::atomic<int> copies_ = 0;
  std::atomic<int> touched_ = 0;
  std::atomic<int> blocking_copies_ = 0;
  std::atomic<int> without_uid_ = 0;
  std::atomic<int> optimized_ = 0;
  std::atomic<bool> broken_ = false;
  int allocations_ = 0;
  int graphs_ = 0;
};

}  // namespace brimful::tests
