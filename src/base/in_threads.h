#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace brimful {

/// Calls `work(i)` for each i from 0 to `count` - 1, in up to `threads` threads; this thread is one of them.
/// `work` must not throw. Blocks: until all are done.
template <typename Work>
void in_threads(std::int64_t count, unsigned threads, const Work& work) {
  std::atomic<std::int64_t> next{0};
  const auto take = [&] {
    for (std::int64_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::jthread> others;
  const auto wanted = std::min<std::int64_t>(threads, count);
  for (std::int64_t i = 1; i < wanted; ++i) others.emplace_back(take);
  take();
}

}  // namespace brimful
