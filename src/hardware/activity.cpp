#include "hardware/activity.h"

#include <unistd.h>

#include <string>

#include "hardware/host_memory.h"
#include "hardware/system_text.h"

namespace brimful::hardware {

std::optional<ProcessUse> read_process_use(pid_t pid, const std::filesystem::path& root) {
  const auto status = read_text(root / "proc" / std::to_string(pid) / "status");
  const auto resident = status ? parse_field(*status, "VmRSS") : std::nullopt;
  if (!resident) return std::nullopt;
  return ProcessUse{*resident, parse_field(*status, "VmSwap").value_or(Bytes{})};
}

std::optional<SwapTraffic> read_swap_traffic(const std::filesystem::path& root) {
  const auto text = read_text(root / "proc/vmstat");
  const auto in = text ? parse_field(*text, "pswpin") : std::nullopt;
  const auto out = text ? parse_field(*text, "pswpout") : std::nullopt;
  if (!in || !out) return std::nullopt;
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return SwapTraffic{*in * page, *out * page};
}

}  // namespace brimful::hardware
