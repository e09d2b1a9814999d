#pragma once

#include <brimful/bytes.h>

#include <string>

#include "base/result.h"

namespace brimful {

constexpr std::uint64_t align_up(std::uint64_t v, std::uint64_t a) { return (v + a - 1) / a * a; }
constexpr std::uint64_t align_down(std::uint64_t v, std::uint64_t a) { return v / a * a; }
constexpr Bytes align_up(Bytes v, Bytes a) { return Bytes{align_up(v.value, a.value)}; }
constexpr Bytes align_down(Bytes v, Bytes a) { return Bytes{align_down(v.value, a.value)}; }
/// a - b, or 0 where b is larger.
constexpr Bytes saturating_sub(Bytes a, Bytes b) { return a < b ? Bytes{} : a - b; }

/// Exact MiB with two decimals (`1536.00 MiB`): for tables whose rows must add up.
[[nodiscard]] std::string format_mib(Bytes bytes);

}  // namespace brimful
