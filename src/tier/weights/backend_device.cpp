#include "tier/weights/backend_device.h"

#include <ggml-backend-impl.h>

#include <cstring>
#include <exception>

namespace brimful::tier {

/// The functions of ggml's C tables for the device, its backends and its registry.
struct DeviceCalls {
  using Stream = BackendDevice::Stream;
  static BackendDevice& of(ggml_backend_dev_t dev) { return *static_cast<BackendDevice*>(dev->context); }
  static Stream& of(ggml_backend_t backend) { return *static_cast<Stream*>(backend->context); }

  // device
  static const char* name(ggml_backend_dev_t dev) { return of(dev).name(); }
  static const char* description(ggml_backend_dev_t dev) {
    return ggml_backend_dev_description(of(dev).inner_);
  }
  static void memory_info(ggml_backend_dev_t dev, size_t* free, size_t* total) {
    const memory::Pool& pool = of(dev).pool_;
    *total = pool.capacity().value;
    *free = (pool.capacity() - pool.reserved()).value;
  }
  // libllama must take each of our devices for a GPU, also the host's: it gives whole layers only to GPUs.
  static enum ggml_backend_dev_type type(ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; }
  static void props(ggml_backend_dev_t dev, ggml_backend_dev_props* out) {
    std::memset(out, 0, sizeof *out);
    out->name = name(dev);
    out->description = description(dev);
    out->type = type(dev);
    memory_info(dev, &out->memory_free, &out->memory_total);
  }
  static ggml_backend_buffer_type_t buffer_type(ggml_backend_dev_t dev) { return of(dev).buffer_type(); }
  static ggml_backend_buffer_type_t host_buffer_type(ggml_backend_dev_t dev) {
    return of(dev).host_buffer_type();
  }
  static bool supports_op(ggml_backend_dev_t dev, const ggml_tensor* op) { return of(dev).supports_op(*op); }
  static bool supports_buft(ggml_backend_dev_t dev, ggml_backend_buffer_type_t type) {
    return of(dev).supports_buffer_type(type);
  }
  static ggml_backend_t init(ggml_backend_dev_t dev, const char* params) {
    ggml_backend_t const inner = ggml_backend_dev_init(of(dev).inner_, params);
    if (inner == nullptr) return nullptr;
    auto* const backend = new ggml_backend{};
    backend->guid = guid();
    backend->iface.get_name = [](ggml_backend_t b) { return of(b).device->name(); };
    backend->iface.free = free_backend;
    backend->iface.set_tensor_async = set_tensor_async;
    backend->iface.get_tensor_async = get_tensor_async;
    backend->iface.synchronize = [](ggml_backend_t b) { ggml_backend_synchronize(of(b).inner); };
    backend->iface.graph_compute = graph_compute;
    if (inner->iface.graph_optimize != nullptr) backend->iface.graph_optimize = graph_optimize;
    backend->device = dev;
    auto* const stream = new Stream{&of(dev), inner};
    backend->context = stream;
    of(dev).started(*stream);
    return backend;
  }

  // backend
  static ggml_guid_t guid() {
    static ggml_guid value = {0x73, 0x74, 0x72, 0x61, 0x74, 0x61, 0x2d, 0x74,
                              0x69, 0x65, 0x72, 0x2d, 0x64, 0x65, 0x76, 0x30};
    return &value;
  }
  static void free_backend(ggml_backend_t backend) {
    of(backend).device->ended(of(backend));
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
  static void graph_optimize(ggml_backend_t backend, ggml_cgraph* graph,
                             ggml_backend_graph_optimize_params* params) {
    ggml_backend_t const inner = of(backend).inner;
    inner->iface.graph_optimize(inner, graph, params);
  }
  static ggml_status graph_compute(ggml_backend_t backend, ggml_cgraph* graph) noexcept {
    if (of(backend).device->skipping_) return GGML_STATUS_SUCCESS;
    std::optional<Error>& error = of(backend).device->error_;
    try {
      const Status status = of(backend).device->compute(of(backend), *graph);
      if (status) {
        of(backend).device->keep_values(*graph);
        return GGML_STATUS_SUCCESS;
      }
      error = status.error();
    } catch (const std::exception& thrown) {  // there is no memory to compile a pass
      error = Error{ErrorCode::kInternal, thrown.what()};
    }
    return error->code == ErrorCode::kCancelled ? GGML_STATUS_ABORTED : GGML_STATUS_FAILED;
  }

  // registry: libllama looks these up by name
  static void set_n_threads(ggml_backend_t backend, int threads) {
    of(backend).device->set_threads(of(backend), threads);
  }
  static void set_abort_callback(ggml_backend_t backend, ggml_abort_callback callback, void* data) {
    of(backend).device->set_abort_callback(of(backend), callback, data);
  }
  static void* proc_address(ggml_backend_reg_t, const char* proc) {
    if (std::strcmp(proc, "ggml_backend_set_n_threads") == 0) return reinterpret_cast<void*>(set_n_threads);
    if (std::strcmp(proc, "ggml_backend_set_abort_callback") == 0)
      return reinterpret_cast<void*>(set_abort_callback);
    return nullptr;
  }
  static ggml_backend_dev_t device(ggml_backend_reg_t reg, size_t) {
    return static_cast<BackendDevice*>(reg->context)->handle();
  }

  static void fill(BackendDevice& device) {
    device.reg_->api_version = GGML_BACKEND_API_VERSION;
    device.reg_->iface = {[](ggml_backend_reg_t) { return "Brimful"; },
                          [](ggml_backend_reg_t) -> size_t { return 1; }, DeviceCalls::device, proc_address};
    device.reg_->context = &device;
    ggml_backend_device_i& iface = device.device_->iface;
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
    device.device_->reg = device.reg_.get();
    device.device_->context = &device;
  }
};

BackendDevice::BackendDevice(memory::Pool& pool, ggml_backend_dev_t inner)
    : pool_(pool),
      inner_(inner),
      device_(std::make_unique<ggml_backend_device>()),
      reg_(std::make_unique<ggml_backend_reg>()) {
  DeviceCalls::fill(*this);
}

BackendDevice::~BackendDevice() = default;

void BackendDevice::keep_values(ggml_cgraph& graph) const {
  for (int i = 0; kept_ != nullptr && i < ggml_graph_n_nodes(&graph); ++i) {
    const ggml_tensor* const node = ggml_graph_node(&graph, i);
    if (kept_node_ != node->name || (node->flags & GGML_TENSOR_FLAG_OUTPUT) == 0) continue;
    const std::size_t before = kept_->size();
    kept_->resize(before + static_cast<std::size_t>(ggml_nelements(node)));
    ggml_backend_tensor_get(node, kept_->data() + before, 0, ggml_nbytes(node));
  }
}

}  // namespace brimful::tier
