#include "session/card_budget.h"

#include <fmt/format.h>

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

}  // namespace brimful::session
