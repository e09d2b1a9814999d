#pragma once

#include <ggml-cpp.h>

#include <vector>

namespace brimful::tier {

/// Makes `device` the one of this thread, where the thread has not used it yet. CUDA's asynchronous copies
/// and its waits for events do not do that: in a thread that has chosen no device they would start a driver
/// context on the first card, which may have no budget.
void choose_in_this_thread(ggml_backend_dev_t device);

/// Copies to a device that follow one another without gaps, on a queue of their own: the next copy is handed
/// over while one runs.
/// Threading: copy() by one thread at a time; wait() for a place by any thread, once copy() has returned.
/// Another thread may compute on the device meanwhile.
class CopyQueue {
 public:
  /// `places` is the largest number of copies in flight. The queue is not usable where the device has no
  /// asynchronous copies or no events.
  CopyQueue(ggml_backend_dev_t device, std::size_t places);
  ~CopyQueue();
  CopyQueue(const CopyQueue&) = delete;
  CopyQueue& operator=(const CopyQueue&) = delete;

  [[nodiscard]] bool usable() const { return !events_.empty(); }
  /// Starts to copy `size` bytes to `target`, `offset` bytes behind its first byte. `bytes` must not change
  /// until wait(place). Requires: usable(), place < places, and wait() was called for the last copy of this
  /// place.
  void copy(std::size_t place, ggml_tensor* target, const std::byte* bytes, std::size_t offset,
            std::size_t size);
  /// Blocks until the last copy of this place has ended.
  void wait(std::size_t place);

 private:
  ggml_backend_ptr queue_;
  // Indexed by place. Empty where the queue is not usable.
  std::vector<ggml_backend_event_ptr> events_;
};

}  // namespace brimful::tier
