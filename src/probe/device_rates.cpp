#include "probe/device_rates.h"

#include <fmt/format.h>
#include <ggml-cpp.h>
#include <ggml.h>

#include <algorithm>
#include <chrono>

#include "base/bytes.h"
#include "probe/ram_rates.h"

namespace brimful::probe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Bytes kCopy = Bytes{64} * kMiB.value;
constexpr std::chrono::milliseconds kTime{500};

}  // namespace

Result<LinkRates> link_rates(ggml_backend_dev_t device, int threads) {
  const std::string name = ggml_backend_dev_name(device);
  const ggml_backend_ptr backend(ggml_backend_dev_init(device, nullptr));
  if (!backend) return fail(ErrorCode::kInternal, fmt::format("{}: the device cannot be started", name));
  ggml_backend_buffer_type_t pinned = ggml_backend_dev_host_buffer_type(device);
  const ggml_backend_buffer_ptr here(ggml_backend_buft_alloc_buffer(
      pinned != nullptr ? pinned : ggml_backend_cpu_buffer_type(), kCopy.value));
  const ggml_backend_buffer_ptr there(
      ggml_backend_buft_alloc_buffer(ggml_backend_dev_buffer_type(device), kCopy.value));
  if (!here || !there)
    return fail(ErrorCode::kBudgetExceeded,
                fmt::format("{}: no room for a copy of {} to measure with", name, format_bytes(kCopy)));
  ggml_backend_buffer_clear(here.get(), 1);
  const ggml_context_ptr context(ggml_init({ggml_tensor_overhead(), nullptr, true}));
  ggml_tensor* const target =
      ggml_new_tensor_1d(context.get(), GGML_TYPE_I8, static_cast<std::int64_t>(kCopy.value));
  if (ggml_backend_tensor_alloc(there.get(), target, ggml_backend_buffer_get_base(there.get())) !=
      GGML_STATUS_SUCCESS)
    return fail(ErrorCode::kInternal, fmt::format("{}: no tensor can be placed there", name));
  const auto copy = [&] {
    ggml_backend_tensor_set_async(backend.get(), target, ggml_backend_buffer_get_base(here.get()), 0,
                                  kCopy.value);
    ggml_backend_synchronize(backend.get());
  };
  copy();  // The first copy makes the pages present and wakes up the link.
  const auto seconds_of = [](Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  /// Copies for a while, and returns the rate.
  const auto rate = [&] {
    double copies = 0;
    const auto begin = Clock::now();
    while (Clock::now() - begin < kTime) {
      copy();
      ++copies;
    }
    return copies * static_cast<double>(kCopy.value) / seconds_of(begin);
  };
  LinkRates out{.copies_bytes_per_s = rate()};
  BRIMFUL_TRY(const auto readers, MemoryReaders::start(threads));
  const Bytes before = readers->read();
  const auto begin = Clock::now();
  out.copies_beside_reads_bytes_per_s = rate();
  out.reads_beside_copies_bytes_per_s =
      static_cast<double>((readers->read() - before).value) / seconds_of(begin);
  return out;
}

Status measure_links(const std::vector<ggml_backend_dev_t>& devices, int threads,
                     std::vector<hardware::Gpu>& gpus) {
  const std::size_t known = gpus.size();
  std::vector<bool> taken(known, false);
  Status measured;
  for (ggml_backend_dev_t const device : devices) {
    const auto rates = link_rates(device, threads);
    if (!rates && measured) measured = std::unexpected(rates.error());
    const auto take = [&](hardware::Gpu& gpu) {
      if (!rates) return;
      gpu.host_to_device_bytes_per_s = rates->copies_bytes_per_s;
      gpu.copies_beside_reads_bytes_per_s = rates->copies_beside_reads_bytes_per_s;
      gpu.reads_beside_copies_bytes_per_s = rates->reads_beside_copies_bytes_per_s;
    };
    const std::string name = ggml_backend_dev_description(device);
    std::size_t index = 0;
    while (index < known && (taken[index] || gpus[index].name != name)) ++index;
    if (index < known) {
      taken[index] = true;
      gpus[index].host_to_device_bytes_per_s.reset();
      take(gpus[index]);
      continue;
    }
    hardware::Gpu gpu{.name = name};
    take(gpu);
    std::size_t free = 0;
    std::size_t total = 0;
    ggml_backend_dev_memory(device, &free, &total);
    gpu.total = Bytes{total};
    gpu.free = Bytes{std::min(free, total)};
    gpu.used = gpu.total - gpu.free;
    gpus.push_back(std::move(gpu));
  }
  return measured;
}

}  // namespace brimful::probe
