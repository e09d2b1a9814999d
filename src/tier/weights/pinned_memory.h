#pragma once

#include <ggml-backend.h>

#include <cstddef>
#include <span>
#include <utility>

namespace brimful::tier {

/// Host memory that a device's driver keeps in place (page-locked memory). The device can fetch from it by
/// itself and at the full rate of its link; from other memory, the driver copies first.
/// ggml registers it as memory that the device only reads: nothing may be copied from the device into it.
/// Only backends that can pin memory of others (CUDA, HIP) do it; with any other, and where pinning fails,
/// the object is false.
/// Move-only. It must be destroyed before the memory.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  /// Pins `memory`. Blocks: for as long as the driver takes to go through the pages.
  PinnedMemory(ggml_backend_dev_t device, std::span<std::byte> memory);
  PinnedMemory(PinnedMemory&& other) noexcept { swap(other); }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~PinnedMemory();

  /// Whether memory is pinned.
  [[nodiscard]] explicit operator bool() const { return !memory_.empty(); }

 private:
  void swap(PinnedMemory& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(unpin_, other.unpin_);
  }

  std::span<std::byte> memory_;
  void (*unpin_)(void*) = nullptr;
};

/// Whether the device's backend can pin memory of others.
[[nodiscard]] bool pins_memory_of_others(ggml_backend_dev_t device);

/// Whether the device copies faster from pinned memory, as its backend says.
[[nodiscard]] bool copies_from_pinned(ggml_backend_dev_t device);

}  // namespace brimful::tier
