#pragma once

#include "base/bytes.h"
#include "hardware/profile.h"

/// How much of a card is left for this process, beside a desktop and other programs. Pure.
namespace brimful::hardware {

/// The bytes that programs hold on the card: what is used, less what driver and firmware keep. Where the
/// driver does not say what it keeps, that is included.
[[nodiscard]] Bytes held_by_programs(const Gpu& gpu);

/// The bytes that a budget nobody has named leaves free, because other programs may take more later: 512 MiB
/// where somebody draws on the card, because a desktop grows with its windows; otherwise 256 MiB.
[[nodiscard]] Bytes reserve_for_others(const Gpu& gpu);

/// The budget that nobody has named: what is free on the card, less reserve_for_others(), in steps of 128
/// MiB, so that a desktop that takes a little more or less does not change where every weight lies. 0 where
/// that is nothing.
[[nodiscard]] Bytes automatic_budget(const Gpu& gpu);

}  // namespace brimful::hardware
