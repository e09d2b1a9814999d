#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include <brimful/export.h>
#include <brimful/result.h>

namespace brimful {

/// A number of bytes. It is a type of its own so that bytes, tokens and elements cannot be mixed up.
/// Arithmetic is that of std::uint64_t, which wraps: callers check for underflow where it can happen.
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

/// Parses a size as people write it: `1500MiB`, `11.5GiB`, `2G` (= GiB), `2GB` (decimal), plain bytes.
/// Units: B, K/KiB/KB, M/MiB/MB, G/GiB/GB, T/TiB/TB, in upper or lower case. A fraction of a byte is dropped.
/// Errors: kInvalidArgument for anything else, for negative sizes and for more than 2^63 bytes.
[[nodiscard]] BRIMFUL_API Result<Bytes> parse_bytes(std::string_view text);

/// Formats a size for people: `1.50 GiB`, `12.0 MiB`, `640 B`. Binary units, three significant digits or so.
[[nodiscard]] BRIMFUL_API std::string format_bytes(Bytes bytes);

}  // namespace brimful
