#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"

namespace brimful::quantise {

/// One type that a tensor could have.
struct Option {
  std::uint64_t bytes = 0;
  double loss = 0;
};

/// A tensor, with its options, and the share of its bytes that counts for each limit: 1 for the size of the
/// file; for the bytes that are read for a token, the share of its rows that a token uses; 0 where the limit
/// does not concern it.
struct Item {
  std::vector<Option> options;
  std::vector<double> shares;
};

/// Chooses one option for each item: the least sum of losses that keeps every limit, in bytes. It follows the
/// Lagrangian of the problem, then fills what is left, then exchanges options of two items while that
/// helps; with few items it tries more. Of the first limit, at least `fill` (0 to 1) is used where that is
/// possible; a little more loss is taken for it. Errors: kInfeasible when even the smallest options exceed a
/// limit; the message says nothing about the user's units, the caller says more. Pure; the same input gives
/// the same choice.
[[nodiscard]] Result<std::vector<std::size_t>> choose(const std::vector<Item>& items,
                                                      const std::vector<double>& limits, double fill);

/// The bytes of a choice that count for the limit with that number.
[[nodiscard]] double counted_bytes(const std::vector<Item>& items, const std::vector<std::size_t>& choice,
                                   std::size_t limit);
[[nodiscard]] double total_loss(const std::vector<Item>& items, const std::vector<std::size_t>& choice);

}  // namespace brimful::quantise
