#include "tier/weights/weight_buffer.h"

#include <ggml-backend-impl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "base/check.h"

namespace brimful::tier {
/// The functions of ggml's C tables for the buffer type and its buffers.
struct WeightBufferCalls {
  static WeightBufferType& type_of(ggml_backend_buffer_type_t buft) {
    return *static_cast<WeightBufferType*>(buft->context);
  }

  static void free_buffer(ggml_backend_buffer_t buffer) {
    if (buffer->size > 0) ::munmap(buffer->context, buffer->size);
  }

  static void* get_base(ggml_backend_buffer_t buffer) { return buffer->context; }

  static ggml_status init_tensor(ggml_backend_buffer_t buffer, ggml_tensor* tensor) {
    if (tensor->view_src != nullptr) return GGML_STATUS_SUCCESS;
    const model::TensorInfo* const info = type_of(buffer->buft).profile().find(tensor->name);
    // Any other tensor in this buffer would have no bytes behind it.
    if (info == nullptr || info->bytes.value != ggml_nbytes(tensor)) return GGML_STATUS_FAILED;
    tensor->extra = const_cast<model::TensorInfo*>(info);
    WeightBufferType& type = type_of(buffer->buft);
    if (type.loading_) {
      type.hidden_.push_back({tensor, tensor->ne[0]});
      tensor->ne[0] = 0;
    }
    return GGML_STATUS_SUCCESS;
  }

  // The bytes that libllama passes came from the virtual file: there is nothing to keep.
  static void set_tensor(ggml_backend_buffer_t, ggml_tensor*, const void*, size_t, size_t) {}

  static void get_tensor(ggml_backend_buffer_t buffer, const ggml_tensor* tensor, void* data, size_t offset,
                         size_t size) {
    WeightBufferType& type = type_of(buffer->buft);
    const auto index = type.weight_of(tensor);
    std::memset(data, 0, size);
    if (!index || type.files() == nullptr) return;
    const model::TensorInfo& info = type.profile().tensors[*index];
    const std::uint64_t begin = info.offset + offset + (tensor->view_src != nullptr ? tensor->view_offs : 0);
    // This is rare, and the bytes are few. It reads whole blocks, because the file may be open for direct
    // reads only.
    const std::uint64_t first = align_down(begin, DiskFiles::kBlock);
    const std::uint64_t span = align_up(begin + size, DiskFiles::kBlock) - first;
    void* const bounce = std::aligned_alloc(DiskFiles::kBlock, span);
    if (bounce == nullptr) {
      type.error_ = Error{ErrorCode::kBudgetExceeded, std::string("no memory to read back ") + tensor->name};
      return;
    }
    const ::ssize_t got =
        ::pread(type.files()->files()[info.file].fd, bounce, span, static_cast<::off_t>(first));
    if (got >= 0 && static_cast<std::uint64_t>(got) >= begin - first + size) {
      std::memcpy(data, static_cast<std::byte*>(bounce) + (begin - first), size);
    } else {
      type.error_ =
          Error{ErrorCode::kIo, std::string("cannot read back ") + tensor->name + ": check the disk"};
    }
    std::free(bounce);
  }

  static void clear(ggml_backend_buffer_t, uint8_t) {}

  static ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t buft, size_t size) {
    if (!type_of(buft).loading_) return type_of(buft).host_.allocate_kept(size);
    void* base = reinterpret_cast<void*>(DiskFiles::kBlock);  // an empty buffer still needs a base
    if (size > 0) {
      base = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (base == MAP_FAILED) return nullptr;
    }
    ggml_backend_buffer_i iface{};
    iface.free_buffer = free_buffer;
    iface.get_base = get_base;
    iface.init_tensor = init_tensor;
    iface.set_tensor = set_tensor;
    iface.get_tensor = get_tensor;
    iface.clear = clear;
    return ggml_backend_buffer_init(buft, iface, base, size);
  }

  static const char* get_name(ggml_backend_buffer_type_t) { return "Brimful_Weights"; }
  static size_t get_alignment(ggml_backend_buffer_type_t) { return 64; }
  static bool is_host(ggml_backend_buffer_type_t) { return false; }
};

WeightBufferType::WeightBufferType(const model::ModelProfile& profile, ggml_backend_dev_t device,
                                   HostBufferType& host)
    : profile_(profile), host_(host), type_(std::make_unique<ggml_backend_buffer_type>()) {
  type_->iface.get_name = WeightBufferCalls::get_name;
  type_->iface.alloc_buffer = WeightBufferCalls::alloc_buffer;
  type_->iface.get_alignment = WeightBufferCalls::get_alignment;
  type_->iface.is_host = WeightBufferCalls::is_host;
  type_->device = device;
  type_->context = this;
}

WeightBufferType::~WeightBufferType() = default;

void WeightBufferType::end_loading(bool loaded) {
  for (const Hidden& hidden : hidden_) {
    if (loaded) hidden.tensor->ne[0] = hidden.row_length;
  }
  hidden_.clear();
  loading_ = false;
}

std::optional<std::uint32_t> WeightBufferType::weight_of(const ggml_tensor* tensor) const {
  const ggml_tensor* const root = tensor->view_src != nullptr ? tensor->view_src : tensor;
  if (root->buffer == nullptr || !is(root->buffer->buft) || root->extra == nullptr) return std::nullopt;
  const auto* const info = static_cast<const model::TensorInfo*>(root->extra);
  return static_cast<std::uint32_t>(info - profile_.tensors.data());
}

}  // namespace brimful::tier
