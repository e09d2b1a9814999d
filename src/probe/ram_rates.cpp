#include "probe/ram_rates.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <span>
#include <thread>
#include <vector>

#include "memory/region.h"

namespace brimful::probe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Bytes kSize = Bytes{512} * kMiB.value;  // Larger than the CPU's caches.

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

Result<std::unique_ptr<MemoryReaders>> MemoryReaders::start(int threads) {
  constexpr Bytes kRead = Bytes{256} * kMiB.value;
  BRIMFUL_TRY(auto region, memory::Region::reserve(kRead));
  BRIMFUL_TRY_VOID(region.commit());
  std::unique_ptr<MemoryReaders> out(new MemoryReaders(std::move(region)));
  const auto count = static_cast<std::size_t>(threads);
  for (std::size_t t = 0; t < count; ++t)
    out->threads_.emplace_back([self = out.get(), t, count] { self->read_again(t, count); });
  return out;
}

MemoryReaders::~MemoryReaders() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
}

void MemoryReaders::read_again(std::size_t thread, std::size_t threads) {
  constexpr std::size_t kWords = kMiB.value / sizeof(std::uint64_t);  // between looks at the clock
  const std::span words(reinterpret_cast<const std::uint64_t*>(region_.data()),
                        region_.size().value / sizeof(std::uint64_t));
  const std::size_t share = words.size() / threads;
  const auto mine = words.subspan(thread * share, share);
  for (std::size_t at = 0; !stop_;) {
    const auto some = mine.subspan(at, std::min(kWords, mine.size() - at));
    sum_ += std::accumulate(some.begin(), some.end(), std::uint64_t{0});
    read_ += some.size_bytes();
    at = at + some.size() == mine.size() ? 0 : at + some.size();
  }
}

Result<RamRates> measure_ram(int threads) {
  RamRates rates;
  BRIMFUL_TRY(auto region, memory::Region::reserve(kSize));
  auto begin = Clock::now();
  BRIMFUL_TRY_VOID(region.commit());
  rates.touch_bytes_per_s = static_cast<double>(kSize.value) / seconds_since(begin);

  const std::span words(reinterpret_cast<const std::uint64_t*>(region.data()),
                        kSize.value / sizeof(std::uint64_t));
  std::atomic<std::uint64_t> sum = 0;  // The sum is used, so that the compiler does not remove the reads.
  const auto read = [&](std::size_t part) {
    const std::size_t share = words.size() / static_cast<std::size_t>(threads);
    const auto mine = words.subspan(part * share, share);
    sum += std::accumulate(mine.begin(), mine.end(), std::uint64_t{0});
  };
  constexpr int kTimes = 5;
  for (int i = 0; i < kTimes; ++i) {
    begin = Clock::now();
    std::vector<std::jthread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(read, static_cast<std::size_t>(t));
    read(0);
    others.clear();
    rates.read_bytes_per_s =
        std::max(rates.read_bytes_per_s, static_cast<double>(kSize.value) / seconds_since(begin));
  }
  if (sum != 0) return fail(ErrorCode::kInternal, "memory that was never written is not zero");
  return rates;
}

}  // namespace brimful::probe
