#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

namespace brimful::hardware {

/// The RAM modules as the firmware describes them (SMBIOS, structures of type 17). Unset fields were not
/// described.
struct MemoryModules {
  /// The number of sockets with a module.
  std::uint32_t count = 0;
  /// The kind of the first module, such as `DDR4`.
  std::optional<std::string> kind;
  /// The speed to which the modules are set; that of the slowest one.
  std::optional<std::uint32_t> mega_transfers_per_s;
  /// The speed for which the modules are made; that of the slowest one.
  std::optional<std::uint32_t> rated_mega_transfers_per_s;
};

/// Parses the firmware's table, as it is in /sys/firmware/dmi/tables/DMI. The table is not trusted: the
/// parser stops at the first structure that is cut off or contradicts itself. Returns nullopt when no module
/// is described. Pure.
[[nodiscard]] std::optional<MemoryModules> parse_memory_modules(std::span<const std::byte> table);

/// Reads and parses the table of this machine. Returns nullopt when it cannot be read: most systems show it
/// only to root. `root` stands before /sys.
[[nodiscard]] std::optional<MemoryModules> read_memory_modules(const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
