#include "session/budget_change.h"

#include <fmt/format.h>

#include <algorithm>

namespace brimful::session {

std::vector<std::string> names_in_use(const engine::Engine& engine) {
  std::vector<std::string> out;
  for (const engine::DeviceUse& device : engine.devices()) out.push_back(device.share.name);
  return out;
}

Result<engine::BudgetChange> budget_change(const Budgets& budgets, const std::vector<std::string>& devices,
                                           const plan::OptionNames& names) {
  if (budgets.ram == Bytes{})
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: a budget of 0 bytes holds nothing", names.ram));
  engine::BudgetChange change{.ram = budgets.ram, .vram = {}};
  const auto has_budget = [&](const std::string& device) {
    return std::ranges::find(change.vram, device, &std::pair<std::string, Bytes>::first) != change.vram.end();
  };
  for (const VramBudget& budget : budgets.vram) {
    std::string name = budget.device;
    if (name.empty()) {
      const auto next =
          std::ranges::find_if(devices, [&](const std::string& device) { return !has_budget(device); });
      if (next == devices.end())
        return fail(ErrorCode::kInvalidArgument,
                    devices.empty() ? fmt::format("no GPU is used: start with {}", names.vram)
                                    : fmt::format("{} names {} budgets and {} GPUs are used", names.vram,
                                                  budgets.vram.size(), devices.size()));
      name = *next;
    }
    if (has_budget(name))
      return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {} has a budget already", names.vram, name));
    if (!budget.bytes)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: a new budget of {} needs a size, as in 8GiB", names.vram, name));
    change.vram.emplace_back(std::move(name), *budget.bytes);
  }
  return change;
}

}  // namespace brimful::session
