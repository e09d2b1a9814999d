#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include <brimful/export.h>
#include <brimful/result.h>

namespace brimful {

/// A number of bytes. It is a separate type, so that bytes, tokens and elements cannot be mixed up.
/// Arithmetic wraps around, as for std::uint64_t. The caller checks for overflow and underflow.
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

/// Parses a size: `1500MiB`, `11.5GiB`, `2G` (2 GiB), `2GB` (2 * 10^9 bytes), or a number of bytes without a unit.
/// Units: B, K/KiB/KB, M/MiB/MB, G/GiB/GB, T/TiB/TB, in upper or lower case. The result is rounded down to bytes.
/// Errors: kInvalidArgument if the text has another form, is negative, or is more than 2^63 bytes.
[[nodiscard]] BRIMFUL_API Result<Bytes> parse_bytes(std::string_view text);

/// Formats a size for people: `1.50 GiB`, `12.0 MiB`, `640 B`. Binary units, about three significant digits.
[[nodiscard]] BRIMFUL_API std::string format_bytes(Bytes bytes);

}  // namespace brimful
