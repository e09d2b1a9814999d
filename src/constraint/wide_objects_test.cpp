#include "constraint/wide_objects.h"

#include <gtest/gtest.h>
#include <json-schema-to-grammar.h>
#include <json.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "constraint/grammar_factoring.h"
#include "constraint/grammar_rules.h"
#include "grammar_acceptance.h"

namespace brimful::constraint {
namespace {

using tests::accepts;
using Json = nlohmann::ordered_json;

Json object_of(int properties, const std::vector<std::string>& required = {}) {
  Json out{{"type", "object"}, {"properties", Json::object()}, {"required", required}};
  for (int i = 0; i < properties; ++i) out["properties"]["f" + std::to_string(i)] = {{"type", "integer"}};
  return out;
}

std::string grammar_of(Json schema) {
  EXPECT_TRUE(mark_wide_objects(schema));
  const auto out = unmark_wide_objects(json_schema_to_grammar(common_json::parse(schema.dump())));
  EXPECT_TRUE(out) << (out ? "" : out.error().message);
  return out ? *out : "";
}

TEST(WideObjects, LeaveNarrowOnesAlone) {
  Json schema = object_of(23);
  const Json before = schema;
  EXPECT_FALSE(mark_wide_objects(schema));
  EXPECT_EQ(schema, before);
}

/// The text `{"f3":1,"f7":1}` for the fields 3 and 7.
std::string object_with(const std::vector<int>& fields) {
  std::string out = "{";
  for (const int field : fields) {
    if (out.size() > 1) out += ",";
    out += "\"f" + std::to_string(field) + "\":1";
  }
  return out + "}";
}

TEST(WideObjects, TakeTheSameObjectsAsLlamaCppsOwnGrammar) {
  const Json schema = object_of(27, {"f1", "f20"});
  const std::string theirs = json_schema_to_grammar(common_json::parse(schema.dump()));
  const std::string ours = grammar_of(schema);
  std::vector<std::vector<int>> all{{1, 20},       {},
                                    {1},           {20, 1},
                                    {1, 20, 0},    {1, 20, 26},
                                    {1, 20, 3, 2}, {1, 20, 3, 3},
                                    {0, 1, 20},    {1, 20, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
                                    {1, 20, 99}};
  for (int i = 0; i < 27; ++i) {
    for (int j = 0; j < 27; ++j) all.push_back({1, 20, i, j});
  }
  int taken = 0;
  for (const std::vector<int>& fields : all) {
    const std::string text = object_with(fields);
    const bool whole = accepts(ours, text);
    EXPECT_EQ(whole, accepts(theirs, text)) << text;
    taken += whole ? 1 : 0;
  }
  EXPECT_EQ(taken, 5 - 1 + 25 * 24 / 2);
}

TEST(WideObjects, MayBeEmptyWhereNothingIsRequired) {
  EXPECT_NE(grammar_of(object_of(30)).find("root ::= \"{\" space (root-b0)? space \"}\"\n"),
            std::string::npos);
}

TEST(WideObjects, AreFoundInsideOthers) {
  const Json schema{{"type", "array"}, {"items", object_of(40)}};
  EXPECT_NE(grammar_of(schema).find("item-b0 ::= "), std::string::npos);
}

TEST(WideObjects, WithReferencesIntoThemStayAsTheyAre) {
  Json schema = object_of(40);
  schema["properties"]["f0"] = {{"$ref", "#/properties/f1"}};
  EXPECT_FALSE(mark_wide_objects(schema));
}

TEST(WideObjects, OfTwoThousandPropertiesMakeASoundGrammar) {
  const std::string grammar = grammar_of(object_of(2000));
  EXPECT_LT(grammar.size(), 800'000U);
  const Status read = check_grammar(grammar, nullptr, {kMiB * 20, std::chrono::seconds(20)});
  EXPECT_TRUE(read) << read.error().message;
}

}  // namespace
}  // namespace brimful::constraint
