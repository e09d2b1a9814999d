#include "cli/probe_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <chrono>
#include <functional>

#include "base/standard_error.h"
#include "hardware/gpu_room.h"
#include "probe/probe.h"

namespace brimful::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kBetweenLines{5};
constexpr const char* kWipeLine = "\r\033[K";
constexpr const char* kMeasures =
    "note: this machine's speed is not known yet and is measured now, once, which takes up to a minute. "
    "Without "
    "a measurement: --like PARTS or --hardware FILE, for a machine that is described\n";

std::string gpu_line(const hardware::Gpu& gpu) {
  std::string out = fmt::format("GPU    {}: {} of VRAM, {} free", gpu.name, format_bytes(gpu.total),
                                format_bytes(gpu.free));
  if (const Bytes others = hardware::held_by_programs(gpu); others > Bytes{})
    out += fmt::format("; programs{} hold {}", gpu.reserved ? "" : " and driver", format_bytes(others));
  if (gpu.reserved) out += fmt::format("; the driver keeps {}", format_bytes(*gpu.reserved));
  if (gpu.pcie_generation && gpu.pcie_width)
    out += fmt::format("; PCIe {}.0 x{}", *gpu.pcie_generation, *gpu.pcie_width);
  if (gpu.driver) out += fmt::format("; driver {}", *gpu.driver);
  if (gpu.host_to_device_bytes_per_s)
    out += fmt::format("; copies from RAM {}", rate_text(*gpu.host_to_device_bytes_per_s));
  return out + '\n';
}

}  // namespace

std::string rate_text(double bytes_per_s) {
  return fmt::format("{}/s", format_bytes(Bytes{static_cast<std::uint64_t>(bytes_per_s)}));
}

Result<hardware::Profile> measure_machine(const model::ModelProfile* model, int threads,
                                          probe::Refresh refresh, session::Links links, MeasureNews news) {
  std::function<void(std::string_view what, int done, int steps)> progress;
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  if (!terminal && news == MeasureNews::kOneLine) {
    progress = [](std::string_view, int done, int) {
      if (done == 0) tell("{}", kMeasures);
    };
  } else {
    progress = [terminal, said = Clock::time_point()](std::string_view what, int done, int steps) mutable {
      const auto now = Clock::now();
      if (!terminal && said != Clock::time_point() && now - said < kBetweenLines) return;
      said = now;
      tell("{}measuring this machine's speed, once: {} ({} of {}){}", terminal ? kWipeLine : "", what,
           done + 1, steps, terminal ? "" : "\n");
      std::fflush(stderr);
    };
  }
  auto machine = session::measure_machine(model, threads, refresh, links, progress);
  if (terminal) tell("{}", kWipeLine);
  return machine;
}

std::string machine_text(const hardware::Profile& m) {
  std::string out = fmt::format("CPU    {}: {} cores, {} threads; {}\n", m.cpu.model, m.cpu.cores,
                                m.cpu.threads, fmt::join(m.cpu.instruction_sets, " "));
  out += fmt::format("RAM    {}, {} available; reads {}, first touch {}", format_bytes(m.ram.total),
                     format_bytes(m.ram.available), rate_text(m.ram.read_bytes_per_s),
                     rate_text(m.ram.touch_bytes_per_s));
  if (m.ram.kind)
    out += fmt::format("; {} modules of {}-{}", m.ram.modules.value_or(0), *m.ram.kind,
                       m.ram.mega_transfers_per_s.value_or(0));
  if (m.ram.cgroup_limit)
    out += fmt::format("; limited to {} by a cgroup", format_bytes(*m.ram.cgroup_limit));
  out += '\n';
  if (m.ram.swap_total.value > 0)
    out +=
        fmt::format("swap   {} used of {}\n", format_bytes(m.ram.swap_used), format_bytes(m.ram.swap_total));
  if (!m.disk.reads.empty()) {
    out += fmt::format("disk   {} {}, {}{}; {} while computing\n", m.disk.kind, m.disk.device,
                       m.disk.file_system, m.disk.direct ? "" : ", no direct reads",
                       rate_text(m.disk.beside_compute_bytes_per_s));
    for (const hardware::ReadRate& read : m.disk.reads)
      out +=
          fmt::format("         reads of {:>9}  {}\n", format_bytes(read.size), rate_text(read.bytes_per_s));
  }
  for (const hardware::Gpu& gpu : m.gpus) out += gpu_line(gpu);
  if (m.gpus.empty() && !m.gpu_problem) out += "GPU    none\n";
  out += fmt::format(
      "\nproducts with {} threads  one token    32 tokens   512 tokens      experts    repacking\n",
      m.compute.threads);
  for (const hardware::KernelRate& kernel : m.compute.kernels) {
    out +=
        fmt::format("  {:<22} {:>12} {:>7.0f} GMAC/s {:>6.0f} GMAC/s {:>5.0f} GMAC/s {:>12}\n", kernel.type,
                    rate_text(kernel.decode_bytes_per_s), kernel.batch_multiplications_per_s / 1e9,
                    kernel.prompt_multiplications_per_s / 1e9, kernel.expert_multiplications_per_s / 1e9,
                    kernel.repack_bytes_per_s ? rate_text(*kernel.repack_bytes_per_s) : "");
  }
  const auto attention = [](const hardware::Attention& a) {
    return fmt::format("{:.1f} GMAC/s for one token, {:.1f} for 512", a.decode_multiplications_per_s / 1e9,
                       a.prompt_multiplications_per_s / 1e9);
  };
  out += fmt::format("  attention, F16 cache:  {}\n  attention, Q8_0 cache: {}\n",
                     attention(m.compute.attention), attention(m.compute.quantised_attention));
  out += fmt::format("  other operations: {}, and {:.1f} us each\n", rate_text(m.compute.element_bytes_per_s),
                     m.compute.seconds_per_node * 1e6);
  return out;
}

}  // namespace brimful::cli
