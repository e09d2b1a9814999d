#include "session/plan_devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/counted.h"
#include "session/card_budget.h"

namespace brimful::session {
namespace {

std::string device_name(std::size_t index) { return fmt::format("CUDA{}", index); }

}  // namespace

Result<PlanDevices> plan_devices(const std::optional<std::vector<VramPart>>& parts,
                                 const hardware::Profile& machine, bool elsewhere,
                                 const plan::OptionNames& names) {
  PlanDevices out;
  if (!parts) {
    for (std::size_t i = 0; elsewhere && i < machine.gpus.size(); ++i) {
      const hardware::Gpu& gpu = machine.gpus[i];
      out.budgets.push_back({device_name(i), gpu, saturating_sub(gpu.total, gpu.used)});
    }
    return out;
  }
  std::vector<std::string> said;
  for (const VramPart& part : *parts) {
    const std::string wanted = part.name.value_or(device_name(out.budgets.size()));
    std::size_t index = 0;
    while (index < machine.gpus.size() && device_name(index) != wanted) ++index;
    if (index == machine.gpus.size()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{0} {1}: {2} has {3}{4}", names.vram, part.text, machine.name,
                              counted(machine.gpus.size(), "GPU"),
                              machine.gpus.empty() ? fmt::format("; leave {} out, or name a GPU with {}",
                                                                 names.vram, names.machine)
                                                   : ""));
    }
    if (part.is_nothing()) continue;
    const hardware::Gpu& gpu = machine.gpus[index];
    hardware::Gpu card = gpu;
    card.free = saturating_sub(gpu.total, gpu.used);
    BRIMFUL_TRY(CardBudget budget,
                card_budget(part, card, fmt::format("{} ({})", wanted, gpu.name), names.vram));
    out.budgets.push_back({wanted, gpu, budget.bytes});
    std::ranges::move(budget.notes, std::back_inserter(said));
  }
  std::vector<std::string> used;
  used.reserve(out.budgets.size());
  for (const plan::DeviceBudget& device : out.budgets) used.push_back(device.name);
  std::vector<std::string> all;
  all.reserve(machine.gpus.size());
  for (std::size_t i = 0; i < machine.gpus.size(); ++i) all.push_back(device_name(i));
  if (std::string note = unused_devices_note(*parts, used, all, names.vram); !note.empty())
    out.notes.push_back(std::move(note));
  std::ranges::move(said, std::back_inserter(out.notes));
  std::vector<std::optional<double>> rates;
  for (const plan::DeviceBudget& device : out.budgets) rates.push_back(device.gpu.memory_bytes_per_s);
  std::vector<plan::DeviceBudget> ordered;
  for (const std::size_t i : fastest_first(rates)) ordered.push_back(std::move(out.budgets[i]));
  out.budgets = std::move(ordered);
  return out;
}

}  // namespace brimful::session
