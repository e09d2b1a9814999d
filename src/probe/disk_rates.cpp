#include "probe/disk_rates.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>

namespace brimful::probe {
namespace {

using Clock = std::chrono::steady_clock;

// As much as the ring reads at once: 16 reads of 2 MiB.
constexpr std::uint64_t kInFlight = 32 * kMiB.value;
constexpr std::uint64_t kMostReads = 128;

}  // namespace

Result<std::unique_ptr<DiskBench>> DiskBench::create(const model::ModelProfile& profile) {
  BRIMFUL_TRY(auto files, tier::DiskFiles::open(profile));
  BRIMFUL_TRY(auto region, memory::Region::reserve(Bytes{kInFlight}));
  BRIMFUL_TRY_VOID(region.commit());
  return std::unique_ptr<DiskBench>(new DiskBench(std::move(files), std::move(region)));
}

bool DiskBench::direct() const { return std::ranges::all_of(files_.files(), &tier::DiskFiles::File::direct); }

Result<double> DiskBench::read_while(Bytes size, const std::function<bool()>& go_on,
                                     std::optional<std::size_t> in_flight) {
  const std::size_t depth =
      in_flight.value_or(std::clamp<std::uint64_t>(kInFlight / size.value, 8, kMostReads));
  BRIMFUL_TRY(const auto reader, tier::make_reader(files_, tier::ReaderKind::kAuto, depth));
  std::vector<std::uint64_t> free_places(reader->depth());
  std::iota(free_places.begin(), free_places.end(), 0);
  std::optional<Error> error;
  std::uint64_t bytes = 0;
  const auto take = [&] {
    const tier::BlockDone done = reader->wait();
    free_places.push_back(done.tag);
    if (!done.status) error = done.status.error();
  };
  const auto begin = Clock::now();
  while (!error && go_on()) {
    while (!free_places.empty()) {
      const auto& files = files_.files();
      if (at_ >= files[file_].size) {
        file_ = (file_ + 1) % static_cast<std::uint32_t>(files.size());
        at_ = 0;
      }
      const std::uint64_t place = free_places.back();
      free_places.pop_back();
      bytes += std::min(size.value, files[file_].size - at_);
      reader->submit({.file = file_,
                      .offset = at_,
                      .size = static_cast<std::uint32_t>(size.value),
                      .target = region_.data() + place * size.value,
                      .tag = place});
      at_ += size.value;
    }
    take();
  }
  while (reader->in_flight() > 0) take();
  if (error) return std::unexpected(*error);
  return static_cast<double>(bytes) / std::chrono::duration<double>(Clock::now() - begin).count();
}

std::function<bool()> for_time(std::chrono::milliseconds time) {
  return [end = std::optional<Clock::time_point>{}, time]() mutable {
    if (!end) end = Clock::now() + time;
    return Clock::now() < *end;
  };
}

}  // namespace brimful::probe
