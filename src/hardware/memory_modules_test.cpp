#include "hardware/memory_modules.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "hardware/recorded_tree.h"

namespace brimful::hardware {
namespace {

struct Module {
  std::uint16_t megabytes = 16384;
  std::uint8_t type = 0x1A;  // DDR4
  std::uint16_t rated = 3200;
  std::uint16_t set = 2666;
  std::uint8_t length = 0x5C;  // The length in SMBIOS 3.3.
  std::uint32_t extended_rated = 0;
  std::uint32_t extended_set = 0;
};

class Table {
 public:
  Table& module(const Module& m) {
    std::string area(m.length, '\0');
    const auto put = [&](std::size_t offset, std::uint32_t value, std::size_t size) {
      for (std::size_t i = 0; i < size && offset + i < area.size(); ++i)
        area[offset + i] = static_cast<char>(value >> (8 * i));
    };
    put(0x00, 17, 1);
    put(0x01, m.length, 1);
    put(0x0C, m.megabytes, 2);
    put(0x10, 1, 1);  // The number of a text.
    put(0x12, m.type, 1);
    put(0x15, m.rated, 2);
    put(0x20, m.set, 2);
    put(0x54, m.extended_rated, 4);
    put(0x58, m.extended_set, 4);
    bytes_ += area + std::string("DIMM 1\0BANK 0\0\0", 15);
    return *this;
  }
  /// A structure of another kind, without texts.
  Table& other(std::uint8_t type, std::uint8_t length) {
    bytes_ += std::string{static_cast<char>(type), static_cast<char>(length)};
    bytes_ += std::string(length > 2 ? length - 2 : 0, '\1') + std::string(2, '\0');
    return *this;
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] std::optional<MemoryModules> parse() const { return parse_of(bytes_); }
  static std::optional<MemoryModules> parse_of(const std::string& bytes) {
    // The exact size lets a sanitizer notice a read past the end.
    const std::vector<char> exact(bytes.begin(), bytes.end());
    return parse_memory_modules(std::as_bytes(std::span(exact)));
  }

 private:
  std::string bytes_;
};

TEST(MemoryModules, AreThoseInTheirSockets) {
  const auto modules =
      Table().other(0, 24).module({}).module({.megabytes = 0}).other(20, 35).module({}).other(127, 4).parse();
  ASSERT_TRUE(modules);
  EXPECT_EQ(modules->count, 2U);
  EXPECT_EQ(modules->kind, "DDR4");
  EXPECT_EQ(modules->mega_transfers_per_s, 2666U);
  EXPECT_EQ(modules->rated_mega_transfers_per_s, 3200U);
}

TEST(MemoryModules, AreAsFastAsTheSlowest) {
  const auto modules =
      Table().module({.rated = 6000, .set = 5600}).module({.rated = 5600, .set = 4800}).parse();
  ASSERT_TRUE(modules);
  EXPECT_EQ(modules->rated_mega_transfers_per_s, 5600U);
  EXPECT_EQ(modules->mega_transfers_per_s, 4800U);
}

TEST(MemoryModules, BeyondSixteenBitsTellTheirSpeedElsewhere) {
  const Module fast{.rated = 0xFFFF, .set = 0xFFFF, .extended_rated = 70000, .extended_set = 68000};
  const auto modules = Table().module(fast).parse();
  ASSERT_TRUE(modules);
  EXPECT_EQ(modules->rated_mega_transfers_per_s, 70000U);
  EXPECT_EQ(modules->mega_transfers_per_s, 68000U);
  Module older = fast;
  older.length = 0x28;
  EXPECT_EQ(Table().module(older).parse()->mega_transfers_per_s, std::nullopt);
}

TEST(MemoryModules, OfOlderFirmwareTellLess) {
  const auto v23 = Table().module({.length = 0x1B}).parse();  // This version has no configured speed.
  ASSERT_TRUE(v23);
  EXPECT_EQ(v23->rated_mega_transfers_per_s, 3200U);
  EXPECT_EQ(v23->mega_transfers_per_s, std::nullopt);
  const auto v21 = Table().module({.length = 0x15}).parse();  // This version has no speed at all.
  ASSERT_TRUE(v21);
  EXPECT_EQ(v21->count, 1U);
  EXPECT_EQ(v21->kind, "DDR4");
  EXPECT_EQ(v21->rated_mega_transfers_per_s, std::nullopt);
}

TEST(MemoryModules, WithUnknownSpeedOrKindLeaveItOut) {
  const auto modules = Table().module({.type = 2, .rated = 0, .set = 0}).parse();
  ASSERT_TRUE(modules);
  EXPECT_EQ(modules->count, 1U);
  EXPECT_EQ(modules->kind, std::nullopt);
  EXPECT_EQ(modules->mega_transfers_per_s, std::nullopt);
  EXPECT_EQ(modules->rated_mega_transfers_per_s, std::nullopt);
}

TEST(MemoryModules, EndWhereTheTableSaysSo) {
  const auto modules = Table().module({}).other(127, 4).module({}).parse();
  ASSERT_TRUE(modules);
  EXPECT_EQ(modules->count, 1U);
}

TEST(MemoryModules, AreNoneWithoutADescription) {
  EXPECT_FALSE(Table().parse());
  EXPECT_FALSE(Table().other(0, 24).other(127, 4).parse());
  EXPECT_FALSE(Table().module({.megabytes = 0}).parse());
  EXPECT_FALSE(Table::parse_of(std::string{17, 0, 0, 0}));  // The length is 0.
  EXPECT_FALSE(Table::parse_of(std::string{17, 3, 0, 0, 0, 0}));
  EXPECT_FALSE(Table::parse_of(std::string(4096, '\xff')));
}

TEST(MemoryModules, CutOffAnywhereAreReadSafely) {
  const std::string whole = Table().other(0, 24).module({}).module({}).other(127, 4).bytes();
  std::uint32_t last = 0;
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    const auto modules = Table::parse_of(whole.substr(0, size));
    const std::uint32_t count = modules ? modules->count : 0;
    EXPECT_GE(count, last) << size;
    EXPECT_LE(count, 2U);
    last = count;
  }
  EXPECT_EQ(last, 2U);
}

TEST(MemoryModules, AreReadFromTheFirmwaresTable) {
  testing::RecordedTree root;
  EXPECT_FALSE(read_memory_modules(root.path()));
  root.file("sys/firmware/dmi/tables/DMI", Table().module({}).other(127, 4).bytes());
  const auto modules = read_memory_modules(root.path());
  ASSERT_TRUE(modules);
  EXPECT_EQ(modules->count, 1U);
}

}  // namespace
}  // namespace brimful::hardware
