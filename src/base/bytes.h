#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful {

/// A number of bytes. A type of its own, so that bytes, tokens and elements cannot be mixed.
/// Arithmetic is plain unsigned arithmetic: callers check for underflow where it can happen.
struct Bytes {
  std::uint64_t value = 0;

  constexpr Bytes() = default;
  constexpr explicit Bytes(std::uint64_t v) : value(v) {}

  constexpr auto operator<=>(const Bytes&) const = default;
  constexpr Bytes& operator+=(Bytes o) {
    value += o.value;
    return *this;
  }
  constexpr Bytes& operator-=(Bytes o) {
    value -= o.value;
    return *this;
  }
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return Bytes{a.value + b.value}; }
  friend constexpr Bytes operator-(Bytes a, Bytes b) { return Bytes{a.value - b.value}; }
  friend constexpr Bytes operator*(Bytes a, std::uint64_t n) { return Bytes{a.value * n}; }
};

inline constexpr Bytes kKiB{1024};
inline constexpr Bytes kMiB{1024 * 1024};
inline constexpr Bytes kGiB{1024 * 1024 * 1024};

constexpr std::uint64_t align_up(std::uint64_t v, std::uint64_t a) { return (v + a - 1) / a * a; }
constexpr std::uint64_t align_down(std::uint64_t v, std::uint64_t a) { return v / a * a; }
constexpr Bytes align_up(Bytes v, Bytes a) { return Bytes{align_up(v.value, a.value)}; }
constexpr Bytes align_down(Bytes v, Bytes a) { return Bytes{align_down(v.value, a.value)}; }
/// a - b, or 0 where b is larger.
constexpr Bytes saturating_sub(Bytes a, Bytes b) { return a < b ? Bytes{} : a - b; }

/// Parses a size as people write it: `1500MiB`, `11.5GiB`, `2G` (= GiB), `2GB` (decimal), plain bytes.
/// Units: B, K/KiB/KB, M/MiB/MB, G/GiB/GB, T/TiB/TB, in any case. A fraction is rounded down to a byte.
/// Errors: kInvalidArgument for anything else, for negative sizes and for more than 2^63 bytes.
[[nodiscard]] Result<Bytes> parse_bytes(std::string_view text);

/// For people: `1.50 GiB`, `12.0 MiB`, `640 B`. Binary units, three significant digits or so.
[[nodiscard]] std::string format_bytes(Bytes bytes);

/// Exact MiB with two decimals (`1536.00 MiB`): for tables whose rows must add up.
[[nodiscard]] std::string format_mib(Bytes bytes);

}  // namespace brimful
