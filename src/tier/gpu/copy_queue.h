#pragma once

#include <ggml-cpp.h>

#include <vector>

namespace brimful::tier {

/// Copies to a device that follow one another without gaps, on a queue of their own: the next one is handed
/// over while one runs. Threading: one thread at a time; another may compute on the device meanwhile.
class CopyQueue {
 public:
  /// `places`: copies in flight, at most. Not usable where the device has no queues with events.
  CopyQueue(ggml_backend_dev_t device, std::size_t places);
  ~CopyQueue();
  CopyQueue(const CopyQueue&) = delete;
  CopyQueue& operator=(const CopyQueue&) = delete;

  [[nodiscard]] bool usable() const { return !events_.empty(); }
  /// `bytes` stay where they are until wait(place). Requires: usable(), and the place's last copy was waited
  /// for.
  void copy(std::size_t place, ggml_tensor* target, const std::byte* bytes, std::size_t offset,
            std::size_t size);
  void wait(std::size_t place) { ggml_backend_event_synchronize(events_[place].get()); }

 private:
  ggml_backend_ptr queue_;
  std::vector<ggml_backend_event_ptr> events_;  // by place
};

}  // namespace brimful::tier
