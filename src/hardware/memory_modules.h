#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

namespace brimful::hardware {

/// The RAM modules as the firmware describes them (SMBIOS, structures of type 17).
struct MemoryModules {
  std::uint32_t count = 0;                                  ///< sockets with a module
  std::optional<std::string> kind;                          ///< `DDR4`
  std::optional<std::uint32_t> mega_transfers_per_s;        ///< as set, of the slowest
  std::optional<std::uint32_t> rated_mega_transfers_per_s;  ///< what the slowest is made for
};

/// `table` as in /sys/firmware/dmi/tables/DMI. It is not trusted: what is cut off or contradicts itself ends
/// the reading. Nothing where no module is described. Pure.
[[nodiscard]] std::optional<MemoryModules> parse_memory_modules(std::span<const std::byte> table);

/// Nothing where the table cannot be read: most systems show it to root only.
[[nodiscard]] std::optional<MemoryModules> read_memory_modules(const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
