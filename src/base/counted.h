#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace brimful {

/// Writes a number with its noun, for messages: `1 answer`, `2 answers`. `noun` is the singular of a noun
/// that takes an "s" in the plural.
[[nodiscard]] inline std::string counted(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace brimful
