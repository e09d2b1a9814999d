#pragma once

#include <ggml-backend.h>

#include <cstddef>
#include <span>
#include <utility>

namespace brimful::tier {

/// Host memory that a device's driver keeps in place, so that the device can fetch from it at the full rate
/// of its link, and by itself; from other memory a driver copies first. ggml registers it as memory that the
/// device only reads: nothing may be copied from the device into it. Only back ends that can pin memory of
/// others (CUDA, HIP) do. Move-only; must go before the memory does.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  /// Blocks: for as long as the driver takes to go through the pages.
  PinnedMemory(ggml_backend_dev_t device, std::span<std::byte> memory);
  PinnedMemory(PinnedMemory&& other) noexcept { swap(other); }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~PinnedMemory();

  [[nodiscard]] explicit operator bool() const { return !memory_.empty(); }

 private:
  void swap(PinnedMemory& other) {
    std::swap(memory_, other.memory_);
    std::swap(unpin_, other.unpin_);
  }

  std::span<std::byte> memory_;
  void (*unpin_)(void*) = nullptr;
};

/// Whether the device's copies are faster from pinned memory, as its back end says.
[[nodiscard]] bool copies_from_pinned(ggml_backend_dev_t device);

}  // namespace brimful::tier
