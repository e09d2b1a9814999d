#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hardware/profile.h"
#include "session/devices.h"

namespace brimful::session {

/// The budget of one GPU.
struct CardBudget {
  Bytes bytes;
  /// What people should know: what other programs hold, and where the budget is not the one that was named.
  std::vector<std::string> notes{};
};

/// Decides the budget of a GPU. Without a size it is what the card has free, less a reserve
/// (hardware::automatic_budget()); a size of more than is free becomes the same, with a note. `card`: the GPU
/// before this process has used it. `name` and `option`: what messages call the GPU and the budgets. Pure.
/// Errors: kInvalidArgument when the card has less memory in all; kInfeasible when a budget without a size
/// would be nothing.
[[nodiscard]] Result<CardBudget> card_budget(const VramPart& part, const hardware::Gpu& card,
                                             std::string_view name, std::string_view option);

/// The order in which GPUs are filled: those with the faster memory first, because what lies there is read in
/// each token. `rates`: bytes/s of each GPU's memory. Where one of them is not known, the order is the one
/// that was given. Returns indices into `rates`. Pure.
[[nodiscard]] std::vector<std::size_t> fastest_first(const std::vector<std::optional<double>>& rates);

}  // namespace brimful::session
