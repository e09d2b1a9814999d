#include "base/bytes.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace brimful {
namespace {

struct Unit {
  std::string_view name;  // lower case
  double factor;
};

constexpr double kBinary = 1024.0;
constexpr double kDecimal = 1000.0;

constexpr std::array<Unit, 14> kUnits{{
    {"", 1},
    {"b", 1},
    {"k", kBinary},
    {"kib", kBinary},
    {"kb", kDecimal},
    {"m", kBinary* kBinary},
    {"mib", kBinary* kBinary},
    {"mb", kDecimal* kDecimal},
    {"g", kBinary* kBinary* kBinary},
    {"gib", kBinary* kBinary* kBinary},
    {"gb", kDecimal* kDecimal* kDecimal},
    {"t", kBinary* kBinary* kBinary* kBinary},
    {"tib", kBinary* kBinary* kBinary* kBinary},
    {"tb", kDecimal* kDecimal* kDecimal* kDecimal},
}};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

}  // namespace

Result<Bytes> parse_bytes(std::string_view text) {
  const auto bad = [&] {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("'{}' is not a size; write it like 11.5GiB, 1500MiB, 2GB or a number of bytes", text));
  };
  const char* const end = text.data() + text.size();

  // Whole bytes are read as an integer: a double would round sizes above 2^53.
  std::uint64_t whole = 0;
  if (auto [p, ec] = std::from_chars(text.data(), end, whole); ec == std::errc{} && p == end) {
    if (whole > (1ULL << 63)) return bad();
    return Bytes{whole};
  }

  double number = 0;
  const auto [rest, ec] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (ec != std::errc{} || !(number >= 0)) return bad();
  std::string_view unit_text(rest, static_cast<std::size_t>(end - rest));
  while (!unit_text.empty() && unit_text.front() == ' ') unit_text.remove_prefix(1);
  const std::string unit = lower(unit_text);
  for (const Unit& u : kUnits) {
    if (u.name != unit) continue;
    const double value = std::floor(number * u.factor);
    if (value > 0x1p63) return bad();
    return Bytes{static_cast<std::uint64_t>(value)};
  }
  return bad();
}

std::string format_bytes(Bytes bytes) {
  if (bytes < kKiB) return fmt::format("{} B", bytes.value);
  const auto v = static_cast<double>(bytes.value);
  if (bytes < kMiB) return fmt::format("{:.1f} KiB", v / static_cast<double>(kKiB.value));
  if (bytes < kGiB) return fmt::format("{:.1f} MiB", v / static_cast<double>(kMiB.value));
  return fmt::format("{:.2f} GiB", v / static_cast<double>(kGiB.value));
}

std::string format_mib(Bytes bytes) {
  return fmt::format("{:.2f} MiB", static_cast<double>(bytes.value) / static_cast<double>(kMiB.value));
}

}  // namespace brimful
