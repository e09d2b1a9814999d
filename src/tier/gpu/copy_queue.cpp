#include "tier/gpu/copy_queue.h"

#include <set>
#include <utility>

namespace brimful::tier {
void choose_in_this_thread(ggml_backend_dev_t device) {
  thread_local std::set<ggml_backend_dev_t> chosen;
  if (!chosen.insert(device).second) return;
  std::size_t free = 0;
  std::size_t total = 0;
  ggml_backend_dev_memory(device, &free, &total);
}

CopyQueue::CopyQueue(ggml_backend_dev_t device, std::size_t places) {
  ggml_backend_dev_props props{};
  ggml_backend_dev_get_props(device, &props);
  if (!props.caps.async || !props.caps.events) return;
  queue_.reset(ggml_backend_dev_init(device, nullptr));
  for (std::size_t i = 0; queue_ && i < places; ++i) {
    ggml_backend_event_ptr event(ggml_backend_event_new(device));
    if (!event) break;
    events_.push_back(std::move(event));
  }
  if (events_.size() < places) events_.clear();
}

CopyQueue::~CopyQueue() {
  if (queue_) ggml_backend_synchronize(queue_.get());  // nothing reads its sources any more
}

void CopyQueue::copy(std::size_t place, ggml_tensor* target, const std::byte* bytes, std::size_t offset,
                     std::size_t size) {
  choose_in_this_thread(ggml_backend_get_device(queue_.get()));
  ggml_backend_tensor_set_async(queue_.get(), target, bytes, offset, size);
  ggml_backend_event_record(events_[place].get(), queue_.get());
}

void CopyQueue::wait(std::size_t place) {
  choose_in_this_thread(ggml_backend_get_device(queue_.get()));
  ggml_backend_event_synchronize(events_[place].get());
}

}  // namespace brimful::tier
