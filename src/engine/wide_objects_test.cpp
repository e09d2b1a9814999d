#include "engine/wide_objects.h"

#include <gtest/gtest.h>
#include <json-schema-to-grammar.h>
#include <json.h>

#include <chrono>
#include <string>

#include "engine/grammar_rules.h"

namespace strata::engine {
namespace {

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

TEST(WideObjects, HaveARuleForWhatMayFollowEachProperty) {
  const std::string grammar = grammar_of(object_of(25, {"f1"}));
  EXPECT_NE(grammar.find("root ::= \"{\" space f1-kv (\",\" space root-o0)? space \"}\"\n"),
            std::string::npos)
      << grammar;
  EXPECT_NE(grammar.find("root-o0 ::= -f0-kv (\",\" space root-o1)? | root-o1\n"), std::string::npos)
      << grammar;
  EXPECT_NE(grammar.find("root-o23 ::= -f24-kv\n"), std::string::npos) << grammar;
  EXPECT_NE(grammar.find("-f0-kv ::= \"\\\"f0\\\"\" space \":\" space integer\n"), std::string::npos)
      << grammar;
}

TEST(WideObjects, MayBeEmptyWhereNothingIsRequired) {
  EXPECT_NE(grammar_of(object_of(30)).find("root ::= \"{\" space (root-o0)? space \"}\"\n"),
            std::string::npos);
}

TEST(WideObjects, AreFoundInsideOthers) {
  const Json schema{{"type", "array"}, {"items", object_of(40)}};
  EXPECT_NE(grammar_of(schema).find("item-o0 ::= "), std::string::npos);
}

TEST(WideObjects, WithReferencesIntoThemStayAsTheyAre) {
  Json schema = object_of(40);
  schema["properties"]["f0"] = {{"$ref", "#/properties/f1"}};
  EXPECT_FALSE(mark_wide_objects(schema));
}

TEST(WideObjects, OfTwoThousandPropertiesMakeASoundGrammar) {
  const std::string grammar = grammar_of(object_of(2000));
  EXPECT_LT(grammar.size(), 400'000U);
  const Status read = check_grammar(grammar, nullptr, {kMiB * 20, std::chrono::seconds(20)});
  EXPECT_TRUE(read) << read.error().message;
}

}  // namespace
}  // namespace strata::engine
