#include "tier/weights/pinned_memory.h"

namespace brimful::tier {

PinnedMemory::PinnedMemory(ggml_backend_dev_t device, std::span<std::byte> memory) {
  ggml_backend_reg_t const back_end = ggml_backend_dev_backend_reg(device);
  using Pin = bool (*)(void*, std::size_t);
  const auto pin =
      reinterpret_cast<Pin>(ggml_backend_reg_get_proc_address(back_end, "ggml_backend_register_host_buffer"));
  unpin_ = reinterpret_cast<void (*)(void*)>(
      ggml_backend_reg_get_proc_address(back_end, "ggml_backend_unregister_host_buffer"));
  if (pin == nullptr || unpin_ == nullptr || memory.empty()) return;
  if (pin(memory.data(), memory.size())) memory_ = memory;
}

PinnedMemory::~PinnedMemory() {
  if (memory_.empty()) return;
  unpin_(memory_.data());
}

bool pins_memory_of_others(ggml_backend_dev_t device) {
  return ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device),
                                           "ggml_backend_register_host_buffer") != nullptr;
}

bool copies_from_pinned(ggml_backend_dev_t device) {
  return ggml_backend_dev_host_buffer_type(device) != nullptr;
}

}  // namespace brimful::tier
