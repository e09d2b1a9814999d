#include "base/json_text.h"

#include <gtest/gtest.h>

#include <iterator>
#include <string>

namespace brimful {
namespace {

std::string error_of(std::string_view text) {
  const auto read = parse_json(text);
  return read ? "" : read.error().message;
}

TEST(JsonText, IsReadWhole) {
  const auto read = parse_json(R"({"a":[1,2.5,"x",null,true]})");
  ASSERT_TRUE(read);
  EXPECT_EQ((*read)["a"][1], 2.5);
}

TEST(JsonText, KeepsTheOrderOfMembersWhereAsked) {
  const auto read = parse_ordered_json(R"({"z":1,"a":2})");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->begin().key(), "z");
}

TEST(JsonText, OfMembersOfOneNameTheLastOneCounts) {
  const auto read = parse_ordered_json(R"({"b":1,"a":[{"c":2},3],"b":{"d":null,"d":4}})");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->dump(), R"({"b":{"d":4},"a":[{"c":2},3]})");
}

TEST(JsonText, AnObjectOfManyMembersIsReadInTimeThatGrowsWithThem) {
  std::string text = "{";
  for (int i = 0; i < 100'000; ++i) text += "\"" + std::to_string(i) + "\":0,";
  text.back() = '}';
  // Comparing each name with all names before it would take five thousand million comparisons.
  const auto read = parse_ordered_json(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->size(), 100'000U);
  EXPECT_EQ(std::prev(read->end()).key(), "99999");
}

TEST(JsonText, NamesTheByteThatIsWrong) {
  EXPECT_EQ(error_of("{"), "is not valid JSON at byte 2");
  EXPECT_EQ(error_of(""), "is not valid JSON at byte 1");
  EXPECT_EQ(error_of("{} x"), "is not valid JSON at byte 4");
}

TEST(JsonText, NamesLineAndColumnWhereThereAreLines) {
  EXPECT_EQ(error_of("{\n \"a\": x\n}"), "is not valid JSON at line 2, column 7");
}

TEST(JsonText, RefusesNumbersThatNoDoubleHolds) {
  EXPECT_EQ(error_of(R"({"temperature": 1e400})"), "holds a number that is out of range, at byte 21");
  EXPECT_EQ(error_of("[-1e999]"), "holds a number that is out of range, at byte 7");
}

TEST(JsonText, RefusesBytesThatAreNoUtf8) {
  EXPECT_NE(error_of("[\"\xff\"]"), "");
  EXPECT_NE(error_of("[\"\xed\xa0\x80\"]"), "");
  EXPECT_NE(error_of(std::string_view("[\"a\0b\"]", 7)), "");
}

TEST(JsonText, RefusesWhatIsNestedTooDeep) {
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_EQ(error_of(deep), "is nested more than 256 levels deep");
  EXPECT_EQ(error_of(std::string(256, '[') + std::string(256, ']')), "");
  EXPECT_EQ(error_of(std::string(100'000, '[')), "is nested more than 256 levels deep");
}

}  // namespace
}  // namespace brimful
