#include "tier/stream/pass_stream.h"

namespace brimful::tier {

Status PassStream::begin(const std::vector<StreamEntry>& entries) {
  part_ = {};
  waited_ = 0;
  if (entries.empty()) return {};
  part_ = cycle_.next(entries);
  // A read ahead may have failed since the last piece. At the beginning of a pass it is tried again. In the
  // middle of a pass, its error is an error of this pass.
  const bool at_begin = part_.begin == 0;
  if (part_.restart || (at_begin && !streamer_.running(cycle_.entries())))
    return streamer_.start(cycle_.entries());
  return {};
}

Status PassStream::wait(std::size_t count) {
  for (; waited_ < count; ++waited_) BRIMFUL_TRY_VOID(streamer_.wait(part_.begin + waited_));
  return {};
}

bool PassStream::ready(std::size_t count) const {
  for (std::size_t i = waited_; i < count; ++i) {
    if (!streamer_.ready(part_.begin + i)) return false;
  }
  return true;
}

void PassStream::release(std::size_t count) {
  if (count > 0) streamer_.release(part_.begin + count);
}

void PassStream::end() {
  if (part_.last) streamer_.next_pass();
}

void PassStream::abandon() {
  streamer_.stop();
  cycle_.forget();
}

}  // namespace brimful::tier
