#include "openai/fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using json = nlohmann::ordered_json;

/// The value of the field `x`, or the message of the error. "none": the field is missing.
template <typename Read>
std::string read_x(const char* value, const Read& read) {
  const json object = json::parse(std::string(R"({"x": )") + value + "}");
  const auto out = read(Fields(object, "in."));
  if (!out) {
    EXPECT_EQ(out.error().code, ErrorCode::kInvalidArgument);
    return out.error().message;
  }
  return *out ? json(**out).dump() : "none";
}
std::string number(const char* value) {
  return read_x(value, [](const Fields& fields) { return fields.number("x", 0, 2); });
}
std::string integer(const char* value, std::int64_t least = -1, std::int64_t most = 10) {
  return read_x(value, [&](const Fields& fields) { return fields.integer("x", least, most); });
}

TEST(Fields, ANumberIsInItsRangeEndsIncluded) {
  EXPECT_EQ(number("0"), "0.0");
  EXPECT_EQ(number("2"), "2.0");
  EXPECT_EQ(number("1.5"), "1.5");
  for (const char* const wrong : {"-0.001", "2.001", "1e300", "\"1\"", "true", "[]", "{}"})
    EXPECT_EQ(number(wrong), "in.x: must be a number from 0 to 2") << wrong;
}

TEST(Fields, ANumberThatIsNoneIsInNoRange) {
  const json object = {{"x", std::numeric_limits<double>::quiet_NaN()}};
  EXPECT_FALSE(Fields(object).number("x", 0, 2));
}

TEST(Fields, AnIntegerMayBeWrittenWithAPoint) {
  EXPECT_EQ(integer("-1"), "-1");
  EXPECT_EQ(integer("10"), "10");
  EXPECT_EQ(integer("8.0"), "8");
  EXPECT_EQ(integer("1e1"), "10");
  for (const char* const wrong : {"-2", "11", "8.5", "11.0", "\"8\"", "false", "18446744073709551615"})
    EXPECT_EQ(integer(wrong), "in.x: must be an integer from -1 to 10") << wrong;
}

TEST(Fields, TheLargestIntegersAreExactOrRefused) {
  EXPECT_EQ(integer("9223372036854775807", INT64_MIN, INT64_MAX), "9223372036854775807");
  EXPECT_EQ(integer("-9223372036854775808", INT64_MIN, INT64_MAX), "-9223372036854775808");
  EXPECT_EQ(integer("9007199254740992.0", INT64_MIN, INT64_MAX), "9007199254740992");
  const std::string refused = "in.x: must be an integer from -9223372036854775808 to 9223372036854775807";
  EXPECT_EQ(integer("9223372036854775808", INT64_MIN, INT64_MAX), refused);
  EXPECT_EQ(integer("1e18", INT64_MIN, INT64_MAX), refused)
      << "a double does not hold each number of that size";
}

TEST(Fields, BooleansAndTextsAreOfTheirType) {
  const auto boolean = [](const Fields& fields) { return fields.boolean("x"); };
  EXPECT_EQ(read_x("true", boolean), "true");
  EXPECT_EQ(read_x("1", boolean), "in.x: must be true or false");
  EXPECT_EQ(read_x("\"true\"", boolean), "in.x: must be true or false");
  const auto text = [](const Fields& fields) { return fields.text("x"); };
  EXPECT_EQ(read_x("\"\"", text), "\"\"");
  EXPECT_EQ(read_x("7", text), "in.x: must be a string");
}

TEST(Fields, NullIsAsIfTheFieldWereMissing) {
  const auto every = [](const char* value) {
    return std::vector{number(value), integer(value),
                       read_x(value, [](const Fields& fields) { return fields.boolean("x"); }),
                       read_x(value, [](const Fields& fields) { return fields.text("x"); })};
  };
  EXPECT_THAT(every("null"), ElementsAre("none", "none", "none", "none"));
  const json empty = json::object();
  EXPECT_EQ(Fields(empty).find("x"), nullptr);
  EXPECT_EQ(Fields(empty).number("x", 0, 1).value(), std::nullopt);
  EXPECT_THAT(Fields(empty).texts("x").value(), IsEmpty());
}

TEST(Fields, OneTextIsAListOfOne) {
  const json object = {
      {"one", "a"}, {"two", {"a", ""}}, {"none", json::array()}, {"bad", {"a", 1}}, {"no", 1}};
  const Fields fields(object);
  EXPECT_THAT(fields.texts("one").value(), ElementsAre("a"));
  EXPECT_THAT(fields.texts("two").value(), ElementsAre("a", ""));
  EXPECT_THAT(fields.texts("none").value(), IsEmpty());
  EXPECT_EQ(fields.texts("bad").error().message, "bad: must be a string or an array of strings");
  EXPECT_EQ(fields.texts("no").error().message, "no: must be a string or an array of strings");
}

TEST(FieldOf, AMessageBeginsWithTheFieldsNameOrHasNone) {
  EXPECT_EQ(field_of("temperature: must be a number"), "temperature");
  EXPECT_EQ(field_of("messages[0].tool_calls[1].function.name: is missing"),
            "messages[0].tool_calls[1].function.name");
  EXPECT_EQ(field_of("the body: must be an object"), std::nullopt);
  EXPECT_EQ(field_of("no colon"), std::nullopt);
  EXPECT_EQ(field_of("a:b"), std::nullopt);
  EXPECT_EQ(field_of(""), std::nullopt);
}

}  // namespace
}  // namespace brimful::openai
