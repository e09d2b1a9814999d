#include "base/bytes.h"

#include <gtest/gtest.h>

namespace brimful {
namespace {

std::uint64_t parsed(std::string_view text) {
  const auto bytes = parse_bytes(text);
  EXPECT_TRUE(bytes) << "'" << text << "' was refused";
  return bytes ? bytes->value : 0;
}

TEST(ParseBytes, ReadsSizesAsPeopleWriteThem) {
  EXPECT_EQ(parsed("1500MiB"), 1500ULL << 20);
  EXPECT_EQ(parsed("11.5GiB"), 23ULL << 29);
  EXPECT_EQ(parsed("2G"), 2ULL << 30);
  EXPECT_EQ(parsed("2GB"), 2'000'000'000ULL);
  EXPECT_EQ(parsed("4096"), 4096U);
  EXPECT_EQ(parsed("0"), 0U);
  EXPECT_EQ(parsed("7B"), 7U);
  EXPECT_EQ(parsed("3K"), 3072U);
  EXPECT_EQ(parsed("3KB"), 3000U);
  EXPECT_EQ(parsed("1T"), 1ULL << 40);
  EXPECT_EQ(parsed("1TB"), 1'000'000'000'000ULL);
  EXPECT_EQ(parsed(".5M"), 512U << 10);
}

TEST(ParseBytes, AcceptsAnyCaseAndASpaceBeforeTheUnit) {
  EXPECT_EQ(parsed("2gib"), 2ULL << 30);
  EXPECT_EQ(parsed("2 GiB"), 2ULL << 30);
  EXPECT_EQ(parsed("2mB"), 2'000'000U);
}

TEST(ParseBytes, RoundsAFractionDownToAByte) {
  EXPECT_EQ(parsed("0.0001K"), 0U);
  EXPECT_EQ(parsed("1.9999999B"), 1U);
  EXPECT_EQ(parsed("0.3KiB"), 307U);  // 307.2
}

TEST(ParseBytes, KeepsEveryBitOfWholeBytes) {
  EXPECT_EQ(parsed("9007199254740993"), 9007199254740993ULL);  // 2^53 + 1: no double holds it
  EXPECT_EQ(parsed("9223372036854775808"), 1ULL << 63);
}

TEST(ParseBytes, RefusesWhatIsNoSize) {
  for (const std::string_view text : {"",
                                      " ",
                                      "GiB",
                                      "-1",
                                      "-1G",
                                      "+1",
                                      "1e9",
                                      "0x10",
                                      "1,5G",
                                      "1.5.2G",
                                      "2GiBs",
                                      "2 G B",
                                      "1G1G",
                                      "nan",
                                      "inf",
                                      "infinity",
                                      "2GiB ",
                                      " 2GiB",
                                      "9223372036854775809",
                                      "99999999999999999999999",
                                      "8388609T",
                                      "1E",
                                      "12\n"}) {
    const auto bytes = parse_bytes(text);
    ASSERT_FALSE(bytes) << "'" << text << "' was read as " << bytes->value;
    EXPECT_EQ(bytes.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(bytes.error().message.find(text), std::string::npos) << bytes.error().message;
  }
}

TEST(FormatBytes, UsesBinaryUnitsAndFewDigits) {
  EXPECT_EQ(format_bytes(Bytes{0}), "0 B");
  EXPECT_EQ(format_bytes(Bytes{1023}), "1023 B");
  EXPECT_EQ(format_bytes(Bytes{1024}), "1.0 KiB");
  EXPECT_EQ(format_bytes(kMiB * 12), "12.0 MiB");
  EXPECT_EQ(format_bytes(kMiB * 1536), "1.50 GiB");
}

TEST(FormatBytes, MibForTablesHasTwoDecimals) {
  EXPECT_EQ(format_mib(kMiB * 1536), "1536.00 MiB");
  EXPECT_EQ(format_mib(Bytes{(1 << 20) + (1 << 18)}), "1.25 MiB");
}

TEST(Bytes, AlignAndSubtract) {
  EXPECT_EQ(align_up(0, 4096), 0U);
  EXPECT_EQ(align_up(1, 4096), 4096U);
  EXPECT_EQ(align_up(4096, 4096), 4096U);
  EXPECT_EQ(align_down(8191, 4096), 4096U);
  EXPECT_EQ(saturating_sub(Bytes{3}, Bytes{5}), Bytes{});
  EXPECT_EQ(saturating_sub(Bytes{5}, Bytes{3}), Bytes{2});
}

}  // namespace
}  // namespace brimful
