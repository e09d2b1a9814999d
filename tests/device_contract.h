#pragma once

#include <ggml-backend.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

struct ggml_cgraph;

namespace brimful::tests {

/// What ggml's CUDA back end asks of those who use it without checking it, and what it counts. A test fails
/// where something breaks these rules.
/// Threading: all functions may be called from any thread.
class DeviceContract {
 public:
  /// The bytes that a tensor takes: a quantised one is padded to a multiple of 512 elements.
  [[nodiscard]] static std::size_t alloc_size(const ggml_tensor& tensor);

  /// Checks a node right before it is computed: the padding of a weight is zero, and each token of a product
  /// with experts names experts that exist and differ from each other.
  static void check(const ggml_tensor& node);

  /// A graph was queued, which has not been computed yet.
  void queued(const ggml_cgraph& graph);
  /// It has been computed.
  void computed(const ggml_cgraph& graph);
  /// Bytes of the device are read without its queue: nothing that is still queued may write them.
  void check_read(const std::byte* begin, std::size_t size);

  /// This thread has made the device its own. CUDA's asynchronous copies do not do that.
  static void chosen();
  /// Checks that this thread has made some device its own. Otherwise the copy would start a driver context on
  /// the first card.
  static void check_chosen();

  /// How often a graph had to be recorded: the back end knows it by its first node, and records it again
  /// where anything in it has changed.
  [[nodiscard]] int recorded() const;
  /// The number of graphs that it keeps.
  [[nodiscard]] int graphs() const;

 private:
  struct Range {
    const std::byte* begin;
    std::size_t size;
  };
  mutable std::mutex mutex_;
  std::multimap<const void*, Range> unfinished_;  // by node array of the graph
  std::map<const void*, std::vector<const void*>> graphs_;
  int recorded_ = 0;
};

}  // namespace brimful::tests
