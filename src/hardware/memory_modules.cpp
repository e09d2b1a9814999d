#include "hardware/memory_modules.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <string_view>
#include <vector>

namespace brimful::hardware {
namespace {

// Names and offsets are those of the SMBIOS reference specification (DSP0134), 7.18 Memory Device.
constexpr std::size_t kHeaderSize = 4;
constexpr std::uint8_t kMemoryDevice = 17;
constexpr std::uint8_t kEndOfTable = 127;
constexpr std::size_t kSize = 0x0C;
constexpr std::size_t kMemoryType = 0x12;
constexpr std::size_t kSpeed = 0x15;
constexpr std::size_t kConfiguredSpeed = 0x20;
constexpr std::size_t kExtendedSpeed = 0x54;
constexpr std::size_t kExtendedConfiguredSpeed = 0x58;
constexpr std::uint32_t kSeeExtended = 0xFFFF;

struct TypeName {
  std::uint32_t type;
  std::string_view name;
};
constexpr std::array<TypeName, 13> kTypes{{{0x12, "DDR"},
                                           {0x13, "DDR2"},
                                           {0x18, "DDR3"},
                                           {0x1A, "DDR4"},
                                           {0x1B, "LPDDR"},
                                           {0x1C, "LPDDR2"},
                                           {0x1D, "LPDDR3"},
                                           {0x1E, "LPDDR4"},
                                           {0x20, "HBM"},
                                           {0x21, "HBM2"},
                                           {0x22, "DDR5"},
                                           {0x23, "LPDDR5"},
                                           {0x24, "HBM3"}}};

/// The formatted area of one structure. Older firmware has shorter areas.
class Structure {
 public:
  explicit Structure(std::span<const std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] std::optional<std::uint32_t> number(std::size_t offset, std::size_t size) const {
    if (offset + size > bytes_.size()) return std::nullopt;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i)
      value |= std::to_integer<std::uint32_t>(bytes_[offset + i]) << (8 * i);
    return value;
  }

  /// The speed in mega transfers per second at `offset`, or at `extended` when it does not fit into 16 bits.
  [[nodiscard]] std::optional<std::uint32_t> speed(std::size_t offset, std::size_t extended) const {
    auto value = number(offset, 2);
    if (value == kSeeExtended) {
      value = number(extended, 4);
      if (value) *value &= 0x7FFFFFFF;
    }
    return value == 0U ? std::nullopt : value;
  }

 private:
  std::span<const std::byte> bytes_;
};

void keep_slowest(std::optional<std::uint32_t>& slowest, std::optional<std::uint32_t> speed) {
  if (speed) slowest = slowest ? std::min(*slowest, *speed) : *speed;
}

void add(MemoryModules& modules, const Structure& device) {
  if (device.number(kSize, 2).value_or(0) == 0) return;  // The socket is empty.
  ++modules.count;
  const auto type = device.number(kMemoryType, 1);
  for (const TypeName& known : kTypes) {
    if (!modules.kind && known.type == type) modules.kind = known.name;
  }
  keep_slowest(modules.rated_mega_transfers_per_s, device.speed(kSpeed, kExtendedSpeed));
  keep_slowest(modules.mega_transfers_per_s, device.speed(kConfiguredSpeed, kExtendedConfiguredSpeed));
}

/// Returns the position at which the texts of a structure end. They follow its formatted area, and two zero
/// bytes follow them.
std::optional<std::size_t> end_of_texts(std::span<const std::byte> table, std::size_t begin) {
  for (std::size_t i = begin; i + 1 < table.size(); ++i) {
    if (table[i] == std::byte{0} && table[i + 1] == std::byte{0}) return i + 2;
  }
  return std::nullopt;
}

}  // namespace

std::optional<MemoryModules> parse_memory_modules(std::span<const std::byte> table) {
  MemoryModules modules;
  while (table.size() >= kHeaderSize) {
    const auto type = std::to_integer<std::uint8_t>(table[0]);
    const auto length = std::to_integer<std::size_t>(table[1]);
    if (type == kEndOfTable || length < kHeaderSize || length > table.size()) break;
    if (type == kMemoryDevice) add(modules, Structure(table.first(length)));
    const auto end = end_of_texts(table, length);
    if (!end) break;
    table = table.subspan(*end);
  }
  if (modules.count == 0) return std::nullopt;
  return modules;
}

std::optional<MemoryModules> read_memory_modules(const std::filesystem::path& root) {
  constexpr std::size_t kLargest = 1 << 20;
  std::ifstream in(root / "sys/firmware/dmi/tables/DMI", std::ios::binary);
  if (!in) return std::nullopt;
  std::vector<char> bytes(kLargest);
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return parse_memory_modules(
      std::as_bytes(std::span(bytes))
          .first(static_cast<std::size_t>(std::max<std::streamsize>(0, in.gcount()))));
}

}  // namespace brimful::hardware
