#include "session/card_budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "hardware/gpu_room.h"

namespace brimful::session {
namespace {

// What an idle card shows as used, without any program.
constexpr Bytes kIdle = kMiB * 64;

/// Who holds what is not free, as a clause; empty when it is nobody.
std::string others(const hardware::Gpu& card) {
  const Bytes held = hardware::held_by_programs(card);
  if (held < kIdle) return {};
  return fmt::format("other programs{} hold {}", card.reserved ? "" : " and its driver", format_bytes(held));
}

}  // namespace

Result<CardBudget> card_budget(const VramPart& part, const hardware::Gpu& card, std::string_view name,
                               std::string_view option) {
  if (part.size && *part.size > card.total) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} {}: {} has {} in all", option, part.text, name, format_bytes(card.total)));
  }
  const Bytes reserve = hardware::reserve_for_others(card);
  const Bytes automatic = hardware::automatic_budget(card);
  const std::string held = others(card);
  const Bytes most = card.managed_by_windows ? automatic : card.free;
  if (part.size && *part.size <= most) {
    CardBudget out{*part.size};
    if (!held.empty())
      out.notes.push_back(fmt::format("{}: {} of its {}; {} are free", name, held, format_bytes(card.total),
                                      format_bytes(card.free)));
    return out;
  }
  if (automatic == Bytes{}) {
    return fail(ErrorCode::kInfeasible,
                fmt::format("{} {}: {} of the {} of {} are free{}, and {} are left to other programs: close "
                            "some of these, or leave the GPU out",
                            option, part.text, format_bytes(card.free), format_bytes(card.total), name,
                            held.empty() ? "" : fmt::format(" ({})", held), format_bytes(reserve)));
  }
  return CardBudget{
      automatic,
      {fmt::format("{} {}: the budget of {} is {}: {} of its {} are free{}, and {} are left to other "
                   "programs{}",
                   option, part.text, name, format_bytes(automatic), format_bytes(card.free),
                   format_bytes(card.total), held.empty() ? "" : fmt::format(" ({})", held),
                   format_bytes(reserve),
                   card.managed_by_windows ? "; under WSL, Windows would move more than that to RAM" : "")}};
}

std::vector<std::size_t> fastest_first(const std::vector<std::optional<double>>& rates) {
  std::vector<std::size_t> order(rates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (std::ranges::all_of(rates, [](const auto& rate) { return rate.has_value(); }))
    std::ranges::stable_sort(order, std::ranges::greater{}, [&](std::size_t i) { return *rates[i]; });
  return order;
}

}  // namespace brimful::session
