#include "hardware/compute_threads.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <memory>
#include <set>

#include "hardware/cpu.h"
#include "hardware/system_text.h"

namespace brimful::hardware {
namespace {

namespace fs = std::filesystem;

/// Returns the processors that share a core with `processor`, which is one of them.
std::vector<std::uint32_t> siblings(std::uint32_t processor, const fs::path& root) {
  const fs::path topology = root / fmt::format("sys/devices/system/cpu/cpu{}/topology", processor);
  auto text = read_text(topology / "core_cpus_list");              // Linux 5.3 and later.
  if (!text) text = read_text(topology / "thread_siblings_list");  // Older kernels.
  auto out = text ? parse_processor_list(*text) : std::vector<std::uint32_t>{};
  if (out.empty()) out.push_back(processor);
  return out;
}

/// Returns only the performance cores' processors when the CPU also has efficiency cores, because every pass
/// waits for its slowest thread.
std::vector<std::uint32_t> fast_processors(std::span<const std::uint32_t> processors, const fs::path& root) {
  std::vector<std::uint32_t> out(processors.begin(), processors.end());
  const auto text = read_text(root / "sys/devices/cpu_core/cpus");  // This file exists only on such a CPU.
  if (!text) return out;
  const std::vector<std::uint32_t> fast = parse_processor_list(*text);
  std::erase_if(out,
                [&](std::uint32_t processor) { return std::ranges::find(fast, processor) == fast.end(); });
  return out.empty() ? std::vector<std::uint32_t>(processors.begin(), processors.end()) : out;
}

}  // namespace

std::uint32_t ComputeLimits::best() const { return usable_threads(std::max(1U, cores), quota); }

std::uint32_t ComputeLimits::most() const { return usable_threads(std::max(1U, processors), quota); }

std::string ComputeLimits::reason() const {
  if (most() < std::max(1U, processors)) return fmt::format("a CPU quota of {:.3g} processors", *quota);
  return fmt::format("{} processor{}", processors, processors == 1 ? "" : "s");
}

std::vector<std::uint32_t> allowed_processors() {
  // The kernel refuses a set that is smaller than its own.
  for (int cpus = 1024; cpus <= 1 << 18; cpus *= 4) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(static_cast<std::size_t>(cpus)),
                                                               [](cpu_set_t* s) { CPU_FREE(s); });
    if (!set) return {};
    const std::size_t size = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
    if (::sched_getaffinity(0, size, set.get()) != 0) continue;
    std::vector<std::uint32_t> out;
    for (int i = 0; i < cpus; ++i) {
      if (CPU_ISSET_S(static_cast<std::size_t>(i), size, set.get()))
        out.push_back(static_cast<std::uint32_t>(i));
    }
    return out;
  }
  return {};
}

std::vector<std::uint32_t> parse_processor_list(std::string_view text) {
  constexpr std::uint64_t kMost = 1U << 18;  // More processors than any kernel supports.
  std::vector<std::uint32_t> out;
  text = trim(text);
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view range = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const auto first = parse_number(range);
    const std::size_t dash = range.find('-');
    const auto last = dash == std::string_view::npos ? first : parse_number(range.substr(dash + 1));
    if (!first || !last || *last >= kMost) continue;
    for (std::uint64_t i = *first; i <= *last; ++i) out.push_back(static_cast<std::uint32_t>(i));
  }
  return out;
}

ComputeLimits read_compute_limits(std::span<const std::uint32_t> processors, const fs::path& root) {
  ComputeLimits out;
  out.quota = read_cpu_quota(root);
  if (processors.empty()) return out;
  out.processors = static_cast<std::uint32_t>(processors.size());
  std::set<std::uint32_t> cores;
  for (const std::uint32_t processor : fast_processors(processors, root))
    cores.insert(std::ranges::min(siblings(processor, root)));
  out.cores = static_cast<std::uint32_t>(cores.size());
  return out;
}

ComputeLimits read_compute_limits() { return read_compute_limits(allowed_processors()); }

ThreadChoice choose_threads(std::optional<int> wanted, const ComputeLimits& limits, const std::string& flag) {
  if (!wanted) return {static_cast<int>(limits.best()), std::nullopt};
  const int most = static_cast<int>(limits.most());
  if (*wanted <= most) return {*wanted, std::nullopt};
  return {most, fmt::format("{} {}: {} thread{} compute{}, because this process may use {}", flag, *wanted,
                            most, most == 1 ? "" : "s", most == 1 ? "s" : "", limits.reason())};
}

}  // namespace brimful::hardware
