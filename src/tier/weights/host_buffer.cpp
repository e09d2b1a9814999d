#include "tier/weights/host_buffer.h"

#include <ggml-backend-impl.h>

#include <algorithm>
#include <cstring>

namespace brimful::tier {

/// The functions of ggml's C tables for the buffer type and its buffers. Each gets a buffer or a type that
/// this class made.
struct HostBufferCalls {
  static HostBufferType& type_of(ggml_backend_buffer_type_t buft) {
    return *static_cast<HostBufferType*>(buft->context);
  }
  static HostBufferType::Buffer& of(ggml_backend_buffer_t buffer) {
    return *static_cast<HostBufferType::Buffer*>(buffer->context);
  }
  static char* at(ggml_backend_buffer_t buffer) { return reinterpret_cast<char*>(of(buffer).region.data()); }

  static void free_buffer(ggml_backend_buffer_t buffer) {
    auto* const self = &of(buffer);
    std::erase(self->type->buffers_, self);
    delete self;
  }
  static ggml_status init_tensor(ggml_backend_buffer_t buffer, ggml_tensor*) {
    of(buffer).has_tensors = true;
    return GGML_STATUS_SUCCESS;
  }
  static void* get_base(ggml_backend_buffer_t buffer) { return at(buffer); }
  static void memset_tensor(ggml_backend_buffer_t, ggml_tensor* t, uint8_t value, size_t offset,
                            size_t size) {
    std::memset(static_cast<char*>(t->data) + offset, value, size);
  }
  static void set_tensor(ggml_backend_buffer_t, ggml_tensor* t, const void* data, size_t offset,
                         size_t size) {
    std::memcpy(static_cast<char*>(t->data) + offset, data, size);
  }
  static void get_tensor(ggml_backend_buffer_t, const ggml_tensor* t, void* data, size_t offset,
                         size_t size) {
    std::memcpy(data, static_cast<const char*>(t->data) + offset, size);
  }
  static bool cpy_tensor(ggml_backend_buffer_t, const ggml_tensor* src, ggml_tensor* dst) {
    if (!ggml_backend_buffer_is_host(src->buffer)) return false;
    std::memcpy(dst->data, src->data, ggml_nbytes(src));
    return true;
  }
  static void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    // Memory that was never touched is zero already. Touching it would take it before it is reserved.
    if (value == 0 && of(buffer).reservation.bytes().value == 0) return;
    std::memset(at(buffer), value, buffer->size);
  }

  static ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t buft, size_t size) {
    return make_buffer(type_of(buft), size, false);
  }
  static ggml_backend_buffer_t make_buffer(HostBufferType& type, size_t size, bool kept) {
    auto region = memory::Region::reserve(Bytes{std::max<size_t>(size, 64)});
    if (!region) return nullptr;
    auto buffer = std::make_unique<HostBufferType::Buffer>();
    buffer->type = &type;
    buffer->region = std::move(*region);
    buffer->kept = kept;
    if (type.pool_ != nullptr && !type.fill(*buffer)) return nullptr;
    if (type.pool_ == nullptr && kept && !buffer->region.commit()) return nullptr;
    ggml_backend_buffer_i iface{};
    iface.free_buffer = free_buffer;
    iface.get_base = get_base;
    iface.init_tensor = init_tensor;
    iface.memset_tensor = memset_tensor;
    iface.set_tensor = set_tensor;
    iface.get_tensor = get_tensor;
    iface.cpy_tensor = cpy_tensor;
    iface.clear = clear;
    buffer->handle = ggml_backend_buffer_init(type.type_.get(), iface, buffer.get(), size);
    type.buffers_.push_back(buffer.get());
    return buffer.release()->handle;
  }
  static const char* get_name(ggml_backend_buffer_type_t) { return "Brimful_Host"; }
  static size_t get_alignment(ggml_backend_buffer_type_t) { return 64; }
  static bool is_host(ggml_backend_buffer_type_t) { return true; }
};

HostBufferType::HostBufferType(ggml_backend_dev_t device)
    : type_(std::make_unique<ggml_backend_buffer_type>()) {
  type_->iface.get_name = HostBufferCalls::get_name;
  type_->iface.alloc_buffer = HostBufferCalls::alloc_buffer;
  type_->iface.get_alignment = HostBufferCalls::get_alignment;
  type_->iface.is_host = HostBufferCalls::is_host;
  type_->device = device;
  type_->context = this;
}

HostBufferType::~HostBufferType() = default;

ggml_backend_buffer_t HostBufferType::allocate_kept(std::size_t size) {
  return HostBufferCalls::make_buffer(*this, size, true);
}

memory::Tag HostBufferType::owner_of(const Buffer& buffer) {
  if (buffer.kept) return memory::Tag::kWeights;
  const bool compute = buffer.handle != nullptr &&
                       ggml_backend_buffer_get_usage(buffer.handle) == GGML_BACKEND_BUFFER_USAGE_COMPUTE;
  return compute ? memory::Tag::kCompute : memory::Tag::kKvCache;
}

Bytes HostBufferType::sum(memory::Tag owner) const {
  Bytes total;
  for (const Buffer* buffer : buffers_) {
    if (owner_of(*buffer) == owner) total += align_up(buffer->region.size(), Bytes{4096});
  }
  return total;
}

Bytes HostBufferType::compute_bytes() const { return sum(memory::Tag::kCompute); }
Bytes HostBufferType::kv_bytes() const { return sum(memory::Tag::kKvCache); }
Bytes HostBufferType::kept_bytes() const { return sum(memory::Tag::kWeights); }

Status HostBufferType::fill(Buffer& buffer) {
  BRIMFUL_TRY(auto reservation,
              pool_->reserve(align_up(buffer.region.size(), Bytes{4096}), owner_of(buffer)));
  BRIMFUL_TRY_VOID(buffer.region.commit());
  buffer.reservation = std::move(reservation);
  return {};
}

void HostBufferType::discard() {
  for (Buffer* buffer : buffers_) {
    if (!buffer->kept) buffer->region.discard();
  }
}

void HostBufferType::forget_pool() {
  pool_ = nullptr;
  for (Buffer* buffer : buffers_) buffer->reservation = {};
}

void HostBufferType::pin_caches(ggml_backend_dev_t device) {
  for (Buffer* buffer : buffers_) {
    if (owner_of(*buffer) != memory::Tag::kKvCache || !buffer->has_tensors || buffer->pinned) continue;
    buffer->pinned = PinnedMemory(device, {buffer->region.data(), buffer->region.size().value});
  }
}

Status HostBufferType::commit(memory::Pool& pool) {
  if (pool_ != nullptr) return {};
  pool_ = &pool;
  for (Buffer* buffer : buffers_) BRIMFUL_TRY_VOID(fill(*buffer));
  return {};
}

}  // namespace brimful::tier
