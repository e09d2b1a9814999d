#include "tier/offload_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace strata::tier {
namespace {

struct Stream {
  OffloadDevice* device;
  ggml_backend_t inner;
};

}  // namespace

/// The C tables. What they do not do themselves the inner device does.
struct OffloadCalls {
  static OffloadDevice& of(ggml_backend_dev_t dev) { return *static_cast<OffloadDevice*>(dev->context); }
  static OffloadDevice& of(ggml_backend_buffer_type_t type) {
    return *static_cast<OffloadDevice*>(type->context);
  }
  static Stream& of(ggml_backend_t backend) { return *static_cast<Stream*>(backend->context); }

  // device
  static const char* name(ggml_backend_dev_t dev) { return ggml_backend_dev_name(of(dev).inner_); }
  static const char* description(ggml_backend_dev_t dev) {
    return ggml_backend_dev_description(of(dev).inner_);
  }
  static void memory_info(ggml_backend_dev_t dev, size_t* free, size_t* total) {
    const memory::Pool& pool = of(dev).pool_;
    *total = pool.capacity().value;
    *free = (pool.capacity() - pool.reserved()).value;
  }
  static enum ggml_backend_dev_type type(ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; }
  static void props(ggml_backend_dev_t dev, ggml_backend_dev_props* out) {
    std::memset(out, 0, sizeof *out);
    out->name = name(dev);
    out->description = description(dev);
    out->type = type(dev);
    memory_info(dev, &out->memory_free, &out->memory_total);
  }
  static ggml_backend_buffer_type_t buffer_type(ggml_backend_dev_t dev) { return &of(dev).counted_type_; }
  static ggml_backend_buffer_type_t host_buffer_type(ggml_backend_dev_t dev) {
    return of(dev).host_.handle();
  }
  static bool supports_op(ggml_backend_dev_t dev, const ggml_tensor* op) {
    return of(dev).takes(op) && ggml_backend_dev_supports_op(of(dev).inner_, op);
  }
  static bool supports_buft(ggml_backend_dev_t dev, ggml_backend_buffer_type_t buft) {
    OffloadDevice& device = of(dev);
    return buft == &device.counted_type_ || device.weights_.is(buft) ||
           ggml_backend_dev_supports_buft(device.inner_, buft);
  }
  static ggml_backend_t init(ggml_backend_dev_t dev, const char* params) {
    ggml_backend_t const inner = ggml_backend_dev_init(of(dev).inner_, params);
    if (inner == nullptr) return nullptr;
    auto* const backend = new ggml_backend{};
    backend->guid = guid();
    backend->iface.get_name = [](ggml_backend_t b) { return ggml_backend_name(of(b).inner); };
    backend->iface.free = free_backend;
    backend->iface.set_tensor_async = set_tensor_async;
    backend->iface.get_tensor_async = get_tensor_async;
    backend->iface.synchronize = [](ggml_backend_t b) { ggml_backend_synchronize(of(b).inner); };
    backend->iface.graph_compute = graph_compute;
    backend->device = dev;
    backend->context = new Stream{&of(dev), inner};
    return backend;
  }

  // backend
  static ggml_guid_t guid() {
    static ggml_guid value = {0x73, 0x74, 0x72, 0x61, 0x74, 0x61, 0x2d, 0x74,
                              0x69, 0x65, 0x72, 0x2d, 0x64, 0x65, 0x76, 0x30};
    return &value;
  }
  static void free_backend(ggml_backend_t backend) {
    ggml_backend_free(of(backend).inner);
    delete &of(backend);
    delete backend;
  }
  static void set_tensor_async(ggml_backend_t backend, ggml_tensor* tensor, const void* data, size_t offset,
                               size_t size) {
    ggml_backend_tensor_set_async(of(backend).inner, tensor, data, offset, size);
  }
  static void get_tensor_async(ggml_backend_t backend, const ggml_tensor* tensor, void* data, size_t offset,
                               size_t size) {
    ggml_backend_tensor_get_async(of(backend).inner, tensor, data, offset, size);
  }
  static ggml_status graph_compute(ggml_backend_t backend, ggml_cgraph* graph) noexcept {
    OffloadDevice& device = *of(backend).device;
    try {
      const Status status = device.compute(of(backend).inner, *graph);
      if (status) return GGML_STATUS_SUCCESS;
      device.error_ = status.error();
    } catch (const std::exception& error) {  // no memory for the program of a piece
      device.error_ = Error{ErrorCode::kInternal, error.what()};
    }
    return device.error_->code == ErrorCode::kCancelled ? GGML_STATUS_ABORTED : GGML_STATUS_FAILED;
  }

  // registry: libllama looks this up by name
  static void set_abort_callback(ggml_backend_t backend, ggml_abort_callback callback, void* data) {
    OffloadDevice& device = *of(backend).device;
    device.abort_ = callback;
    device.abort_data_ = data;
  }
  static void* proc_address(ggml_backend_reg_t, const char* proc) {
    return std::strcmp(proc, "ggml_backend_set_abort_callback") == 0
               ? reinterpret_cast<void*>(set_abort_callback)
               : nullptr;
  }
  static size_t device_count(ggml_backend_reg_t) { return 1; }
  static ggml_backend_dev_t device(ggml_backend_reg_t reg, size_t) {
    return &static_cast<OffloadDevice*>(reg->context)->device_;
  }
  static const char* reg_name(ggml_backend_reg_t) { return "Strata"; }

  // buffer type: the inner device's own buffers, counted
  static const char* type_name(ggml_backend_buffer_type_t t) {
    return ggml_backend_buft_name(of(t).inner_type_);
  }
  static ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t t, size_t size) {
    return of(t).allocate(size);
  }
  static size_t alignment(ggml_backend_buffer_type_t t) {
    return ggml_backend_buft_get_alignment(of(t).inner_type_);
  }
  static size_t max_size(ggml_backend_buffer_type_t t) {
    return ggml_backend_buft_get_max_size(of(t).inner_type_);
  }
  static size_t alloc_size(ggml_backend_buffer_type_t t, const ggml_tensor* tensor) {
    return ggml_backend_buft_get_alloc_size(of(t).inner_type_, tensor);
  }
  static bool is_host(ggml_backend_buffer_type_t t) { return ggml_backend_buft_is_host(of(t).inner_type_); }

  static void fill(OffloadDevice& device) {
    device.reg_.api_version = GGML_BACKEND_API_VERSION;
    device.reg_.iface = {reg_name, device_count, OffloadCalls::device, proc_address};
    device.reg_.context = &device;
    ggml_backend_device_i& iface = device.device_.iface;
    iface.get_name = name;
    iface.get_description = description;
    iface.get_memory = memory_info;
    iface.get_type = type;
    iface.get_props = props;
    iface.init_backend = init;
    iface.get_buffer_type = buffer_type;
    iface.get_host_buffer_type = host_buffer_type;
    iface.supports_op = supports_op;
    iface.supports_buft = supports_buft;
    device.device_.reg = &device.reg_;
    device.device_.context = &device;
    ggml_backend_buffer_type_i& counted = device.counted_type_.iface;
    counted.get_name = type_name;
    counted.alloc_buffer = alloc_buffer;
    counted.get_alignment = alignment;
    counted.get_max_size = max_size;
    counted.get_alloc_size = alloc_size;
    counted.is_host = is_host;
    device.counted_type_.device = &device.device_;
    device.counted_type_.context = &device;
  }
};

OffloadDevice::OffloadDevice(const WeightBufferType& weights, HostBufferType& host, memory::Pool& pool,
                             ggml_backend_dev_t inner)
    : weights_(weights),
      host_(host),
      pool_(pool),
      inner_(inner),
      inner_type_(ggml_backend_dev_buffer_type(inner)) {
  OffloadCalls::fill(*this);
  choose({});
}

OffloadDevice::~OffloadDevice() = default;

Status OffloadDevice::settle(Bytes kv_cache, Bytes compute) {
  buffers_.clear();
  for (const auto& [bytes, owner] :
       {std::pair(kv_cache, memory::Owner::kKvCache), std::pair(compute, memory::Owner::kCompute)}) {
    STRATA_TRY(auto reservation, pool_.reserve(bytes, owner));
    buffers_.push_back(std::move(reservation));
  }
  return {};
}

bool OffloadDevice::takes(const ggml_tensor* op) const {
  const bool batch = ring_size_ > Bytes{} && op->ne[1] >= kBatch;
  for (int s = 0; s < GGML_MAX_SRC; ++s) {
    const ggml_tensor* const src = op->src[s];
    const auto weight = src != nullptr ? weights_.weight_of(src) : std::nullopt;
    if (!weight) continue;
    if (src->view_src != nullptr) return false;
    if (twins_[*weight] != nullptr && (batch || !for_batches_[*weight])) continue;
    const bool product = op->op == GGML_OP_MUL_MAT && s == 0 && op->ne[2] == 1;
    if (!batch || !product || !sendable_[*weight]) return false;
  }
  return true;
}

ggml_backend_buffer_t OffloadDevice::allocate(std::size_t size) {
  // Whose it is, settle() is told; and which of them ggml has given back, as it does when a later one is
  // larger.
  auto reservation = pool_.reserve(Bytes{size}, memory::Owner::kKvCache);
  if (!reservation) {
    error_ = reservation.error();
    return nullptr;
  }
  ggml_backend_buffer_t const buffer = ggml_backend_buft_alloc_buffer(inner_type_, size);
  if (buffer == nullptr) {
    error_ = Error{ErrorCode::kBudgetExceeded, fmt::format("{} has no {} left", ggml_backend_dev_name(inner_),
                                                           format_bytes(Bytes{size}))};
    return nullptr;
  }
  buffers_.push_back(std::move(*reservation));
  return buffer;
}

}  // namespace strata::tier
