#pragma once

#include <ggml-backend.h>

#include <memory>
#include <vector>

#include "memory/pool.h"
#include "memory/region.h"
#include "tier/weights/pinned_memory.h"

namespace brimful::tier {

/// The ggml buffer type for everything that libllama allocates beside the weights: KV cache, compute buffers,
/// outputs. It is ordinary host memory, but counted. At first a buffer is address space only, so that the
/// needs of a context are known before a byte is spent. commit() reserves and fills all buffers. After it,
/// each allocation is reserved and filled at once, and one that passes the budget fails.
/// Threading: as libllama's, one thread at a time. Lifetime: it must outlive its buffers.
class HostBufferType {
 public:
  explicit HostBufferType(ggml_backend_dev_t device);
  HostBufferType(const HostBufferType&) = delete;
  HostBufferType& operator=(const HostBufferType&) = delete;
  ~HostBufferType();

  [[nodiscard]] ggml_backend_buffer_type_t handle() { return type_.get(); }

  /// Allocates a buffer for an adapter's weights. It is filled at once, and discard() leaves it alone.
  /// Returns null where the budget has no room, or the system no memory.
  [[nodiscard]] ggml_backend_buffer_t allocate_kept(std::size_t size);

  /// Bytes of the live buffers that ggml marks as compute buffers, each rounded up to a page of 4096 bytes.
  [[nodiscard]] Bytes compute_bytes() const;
  /// Bytes of all other live buffers that are not kept (KV cache, outputs), rounded up in the same way.
  [[nodiscard]] Bytes kv_bytes() const;
  /// Bytes of the live buffers that allocate_kept() made, rounded up in the same way. Before commit() they
  /// are filled, but not reserved yet.
  [[nodiscard]] Bytes kept_bytes() const;

  /// Pins the caches of contexts for a device that fetches from them, as far as the device's back end can.
  /// They stay pinned for as long as they live. Results and compute buffers are not pinned, because devices
  /// write into them. Requires: commit() succeeded.
  void pin_caches(ggml_backend_dev_t device);

  /// Gives back the pages of all buffers but the kept ones: recording a graph touches some. Call it only
  /// before commit().
  void discard();

  /// Reserves all buffers from `pool` and makes their pages present. A second call without forget_pool() does
  /// nothing.
  /// Errors: kBudgetExceeded. Some buffers may have been filled then, and the context must be freed.
  [[nodiscard]] Status commit(memory::Pool& pool);
  /// Returns to the state before commit(): new allocations are address space only. Kept buffers stay filled,
  /// and the next commit() reserves them again. Requires: no other buffer lives.
  void forget_pool();

 private:
  struct Buffer {
    HostBufferType* type = nullptr;
    ggml_backend_buffer_t handle = nullptr;
    memory::Region region;
    memory::Reservation reservation;
    bool kept = false;
    // Whether tensors were made in it when it was allocated: it is a cache or a compute buffer, and no
    // output.
    bool has_tensors = false;
    PinnedMemory pinned;  // must be destroyed before the region
  };

  friend struct HostBufferCalls;
  [[nodiscard]] static memory::Tag owner_of(const Buffer& buffer);
  [[nodiscard]] Status fill(Buffer& buffer);
  [[nodiscard]] Bytes sum(memory::Tag owner) const;

  const std::unique_ptr<ggml_backend_buffer_type> type_;
  std::vector<Buffer*> buffers_;
  // Null before commit().
  memory::Pool* pool_ = nullptr;
};

}  // namespace brimful::tier
