#pragma once

#include <ggml-backend-impl.h>

#include <memory>
#include <vector>

#include "memory/pool.h"
#include "memory/region.h"

namespace brimful::tier {

/// The ggml buffer type for everything that libllama allocates beside weights: KV cache, compute buffers,
/// outputs. Ordinary host memory, but counted, and at first address space only, so that a context's needs can
/// be learned before a byte is spent. commit() reserves and fills all of it; from then on an allocation
/// is reserved and filled at once, and one that passes the budget fails.
/// Threading: as libllama's, one thread at a time. Lifetime: outlives its buffers.
class HostBufferType {
 public:
  explicit HostBufferType(ggml_backend_dev_t device);
  HostBufferType(const HostBufferType&) = delete;
  HostBufferType& operator=(const HostBufferType&) = delete;

  [[nodiscard]] ggml_backend_buffer_type_t handle() { return &type_; }

  /// A buffer that is filled at once and that discard() leaves alone: for an adapter's weights.
  /// Null where the budget has no room, or the system no memory.
  [[nodiscard]] ggml_backend_buffer_t allocate_kept(std::size_t size);

  /// Bytes of the live buffers: those ggml marks as compute buffers, and the others (KV cache, outputs).
  [[nodiscard]] Bytes compute_bytes() const;
  [[nodiscard]] Bytes kv_bytes() const;
  /// Of kept buffers: before commit() these are filled and not yet reserved.
  [[nodiscard]] Bytes kept_bytes() const;

  /// Before commit(): gives back the pages that recording touched.
  void discard();

  /// Errors: kBudgetExceeded; then some buffers may have been filled, and the context must be freed.
  [[nodiscard]] Status commit(memory::Pool& pool);
  /// As before commit(): what is allocated from now on is address space only. Kept buffers stay filled, and
  /// are reserved again by the next commit(). Requires: no other buffer lives.
  void forget_pool();

 private:
  struct Buffer {
    HostBufferType* type = nullptr;
    ggml_backend_buffer_t handle = nullptr;
    memory::Region region;
    memory::Reservation reservation;
    bool kept = false;
  };

  friend struct HostBufferCalls;
  [[nodiscard]] static memory::Tag owner_of(const Buffer& buffer);
  [[nodiscard]] Status fill(Buffer& buffer);
  [[nodiscard]] Bytes sum(memory::Tag owner) const;

  ggml_backend_buffer_type type_;
  std::vector<Buffer*> buffers_;
  memory::Pool* pool_ = nullptr;  // set by commit()
};

}  // namespace brimful::tier
