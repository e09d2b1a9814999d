#include "constraint/answer_schema.h"

#include <common.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <llama.h>

#include <cmath>
#include <memory>

#include "constraint/answer_grammar.h"
#include "constraint/schema_pattern.h"

namespace brimful::constraint {
namespace {

using json = nlohmann::ordered_json;

/// Checks which texts a grammar allows, with one of llama.cpp's own vocabularies.
class AnswerSchemaTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    model_ = llama_model_load_from_file(BRIMFUL_LLAMA_CPP_DIR "/models/ggml-vocab-llama-spm.gguf", params);
    ASSERT_NE(model_, nullptr);
  }
  static void TearDownTestSuite() { llama_model_free(model_); }

  /// Whether `text` follows the grammar. It is checked byte by byte, so that no token hides a step.
  static bool follows(const std::string& grammar, const std::string& text) {
    const llama_vocab* const vocab = llama_model_get_vocab(model_);
    const std::unique_ptr<llama_sampler, decltype(&llama_sampler_free)> sampler(
        llama_sampler_init_grammar(vocab, grammar.c_str(), "root"), llama_sampler_free);
    EXPECT_NE(sampler, nullptr) << grammar;
    const auto takes = [&](llama_token token) {
      llama_token_data candidate{token, 1, 0};
      llama_token_data_array one{&candidate, 1, -1, false};
      llama_sampler_apply(sampler.get(), &one);
      return candidate.logit != -INFINITY;
    };
    for (const char c : text) {
      const auto token =
          static_cast<llama_token>(3 + static_cast<unsigned char>(c));  // the token <0x00> has the id 3
      if (!takes(token)) return false;
      llama_sampler_accept(sampler.get(), token);
    }
    return takes(llama_vocab_eos(vocab));
  }

  static bool schema_takes(const json& schema, const std::string& text) {
    const AnswerSchema rewritten = schema_for_grammar(schema);
    EXPECT_THAT(rewritten.not_enforced, testing::IsEmpty());
    const auto grammar = grammar_of_schema(rewritten.schema.dump(), "schema");
    EXPECT_TRUE(grammar) << grammar.error().message;
    return grammar && follows(grammar->grammar, text);
  }

  static llama_model* model_;
};
llama_model* AnswerSchemaTest::model_ = nullptr;

struct PatternCase {
  const char* pattern;
  std::vector<std::string> good;  // JSON texts
  std::vector<std::string> bad;
};

TEST_F(AnswerSchemaTest, PatternsAreEnforcedWhateverTheirForm) {
  const std::vector<PatternCase> cases{
      {R"(^\d{3}-\d{4}$)", {R"("555-1234")"}, {R"("55-1234")", R"("abc-1234")", R"("555-12345")"}},
      {R"(^\w+$)", {R"("a_Z9")"}, {R"("a b")", R"("")"}},
      {R"(^a\sb$)", {R"("a b")", R"("a\tb")"}, {R"("ab")"}},
      {R"(^\/api\/v\d$)", {R"("/api/v1")"}, {R"("api/v1")", R"("/api/vx")"}},
      {R"(abc)", {R"("abc")", R"("xxabcyy")"}, {R"("ab")", R"("acb")"}},
      {R"(^abc)", {R"("abc")", R"("abcd")"}, {R"("xabc")"}},
      {R"(abc$)", {R"("abc")", R"("xabc")"}, {R"("abcd")"}},
      {R"(^a|b$)", {R"("ax")", R"("xb")"}, {R"("x")"}},
      {R"(^(?:red|green)$)", {R"("red")", R"("green")"}, {R"("blue")"}},
      {R"(^[^0-9]+$)", {R"("abc")"}, {R"("a1")"}},
      {R"(^[\w.-]+@[\w-]+\.[a-z]{2,}$)", {R"("a.b@c-d.org")"}, {R"("a@b")", R"("@b.org")"}},
      {R"(^\S+?$)", {R"("ab")"}, {R"("a b")"}},
      {R"(^"q"$)", {R"("\"q\"")"}, {R"(""q"")"}},
      {R"(^.*$)", {R"("any \"thing\"")", R"("")"}, {R"("a"b")"}},
      {R"(^ä+$)", {R"("ää")"}, {R"("a")"}},
      {R"(^(?P<year>\d{4})$)", {R"("2026")"}, {R"("26")"}},
      {R"(\Aab\Z)", {R"("ab")"}, {R"("abc")"}},
      {R"(^{a}b{c$)", {R"("{a}b{c")"}, {R"("ab")"}},
      {R"(^[ä-ü]\u00df$)", {R"("öß")"}, {R"("zß")"}},
  };
  for (const PatternCase& one : cases) {
    const json schema = {{"type", "string"}, {"pattern", one.pattern}};
    for (const std::string& text : one.good)
      EXPECT_TRUE(schema_takes(schema, text)) << one.pattern << " " << text;
    for (const std::string& text : one.bad)
      EXPECT_FALSE(schema_takes(schema, text)) << one.pattern << " " << text;
  }
}

TEST_F(AnswerSchemaTest, PatternsThatAGrammarCannotExpressAreNamed) {
  for (const char* const pattern :
       {"^(?=a)b$", "(?!x)", R"(\bword\b)", R"(^(a)\1$)", R"(^\p{L}+$)", "^a{3,1}$", "a++", "(a", "a)", "[a",
        "*a", "^a{99999999}$", "^{2}a$", "^a{,3}$"}) {
    EXPECT_FALSE(pattern_for_grammar(pattern)) << pattern;
    const AnswerSchema schema = schema_for_grammar(
        {{"type", "object"}, {"properties", {{"p", {{"type", "string"}, {"pattern", pattern}}}}}});
    EXPECT_THAT(schema.not_enforced, testing::ElementsAre("pattern at /properties/p")) << pattern;
    EXPECT_FALSE(schema.schema["properties"]["p"].contains("pattern"));
  }
}

TEST_F(AnswerSchemaTest, KeywordsThatAreNotEnforcedAreNamedWithTheirPlace) {
  const auto found = [](const json& schema) { return schema_for_grammar(schema).not_enforced; };
  EXPECT_THAT(found({{"type", "integer"}, {"multipleOf", 5}}), testing::ElementsAre("multipleOf at /"));
  EXPECT_THAT(found({{"type", "number"}, {"minimum", 0}}), testing::ElementsAre("minimum at /"));
  EXPECT_THAT(found({{"type", "integer"}, {"minimum", 0}, {"maximum", 9}}), testing::IsEmpty());
  EXPECT_THAT(found({{"not", {{"type", "string"}}}}), testing::ElementsAre("not at /"));
  EXPECT_THAT(found({{"if", json::object()}, {"then", json::object()}}),
              testing::ElementsAre("if at /", "then at /"));
  EXPECT_THAT(
      found(
          {{"anyOf", {{{"type", "string"}, {"format", "email"}}, {{"type", "string"}, {"format", "date"}}}}}),
      testing::ElementsAre("format at /anyOf/0"));
  EXPECT_THAT(
      found({{"type", "array"}, {"items", {{"type", "number"}, {"maximum", 1}}}, {"uniqueItems", true}}),
      testing::ElementsAre("uniqueItems at /", "maximum at /items"));
  // Names of properties do not count as keywords.
  EXPECT_THAT(found({{"type", "object"},
                     {"properties", {{"not", {{"type", "string"}}}, {"format", {{"type", "string"}}}}}}),
              testing::IsEmpty());
}

struct SchemaCase {
  const char* schema;
  std::vector<std::string> good;  // JSON texts
  std::vector<std::string> bad;
};

/// Each of these schemas has one meaning, and llama.cpp's converter alone would allow other texts.
TEST_F(AnswerSchemaTest, KeywordsBesideOneAnotherAreAllEnforced) {
  const std::vector<SchemaCase> cases{
      // References to the whole schema, and to names with characters that pointers escape.
      {R"({"type":"object","properties":{"v":{"const":1},"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},
           "required":["v","next"],"additionalProperties":false})",
       {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":1,"next":null}})"},
       {R"({"v":1,"next":{"v":2,"next":null}})", R"({"v":1,"next":1})"}},
      {R"({"$defs":{"a/b":{"const":1},"c d":{"const":2}},"type":"array",
           "prefixItems":[{"$ref":"#/$defs/a~1b"},{"$ref":"#/$defs/c%20d"}]})",
       {"[1,2]"},
       {"[2,1]", "[1]"}},
      // Parts of allOf, and keywords next to a reference.
      {R"({"allOf":[{"type":"integer","minimum":2},{"maximum":4}]})", {"2", "4"}, {"1", "5", "{}"}},
      {R"({"$defs":{"n":{"type":"integer","minimum":0}},"$ref":"#/$defs/n","maximum":5})",
       {"0", "5"},
       {"6", "-1"}},
      {R"({"$defs":{"color":{"enum":["red","blue"]}},"type":"object","required":["c"],
           "properties":{"c":{"description":"of the wall","allOf":[{"$ref":"#/$defs/color"}]}}})",
       {R"({"c":"red"})"},
       {R"({"c":"green"})", R"({"c":{}})"}},
      {R"({"properties":{"a":{"const":1}},"required":["a"],"allOf":[{"properties":{"b":{"const":2}},"required":["b"]}]})",
       {R"({"a":1,"b":2})"},
       {R"({"a":1})", R"({"b":2})"}},
      // A tree whose nodes are merged is merged once.
      {R"({"$defs":{"base":{"type":"object","properties":{"v":{"const":1}},"required":["v"]},
           "node":{"allOf":[{"$ref":"#/$defs/base"},{"properties":{"n":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/node"}]}},"required":["n"]}]}},
           "$ref":"#/$defs/node"})",
       {R"({"v":1,"n":null})", R"({"v":1,"n":{"v":1,"n":null}})"},
       {R"({"n":null})", R"({"v":1,"n":{"n":null}})"}},
      // Keywords next to alternatives.
      {R"({"type":"object","properties":{"k":{"const":1}},"required":["k"],
           "anyOf":[{"properties":{"b":{"const":2}},"required":["b"]},{"properties":{"c":{"const":3}},"required":["c"]}]})",
       {R"({"k":1,"b":2})", R"({"k":1,"c":3})"},
       {R"({"b":2})", R"({"k":1})", R"({"k":1,"b":3})"}},
      {R"({"type":["integer","null"],"minimum":1,"maximum":3})", {"1", "3", "null"}, {"0", "4", "-1"}},
      // Values of another type; bounds with a decimal point; `exclusiveMinimum` as older schemas have it.
      {R"({"type":"integer","enum":["x",3]})", {"3"}, {R"("x")"}},
      {R"({"type":"integer","minimum":1.5,"maximum":4.0})", {"2", "4"}, {"1", "5"}},
      {R"({"type":"integer","minimum":3,"exclusiveMinimum":true,"maximum":9})", {"4"}, {"3"}},
      // Lists: with first items, with no items, and with any items.
      {R"({"type":"array","prefixItems":[{"const":1},{"const":2}],"items":false})",
       {"[1,2]"},
       {"[2,1]", "[]"}},
      {R"({"type":"array","items":false})", {"[]"}, {"[1]"}},
      {R"({"type":"array","items":true,"maxItems":1})", {"[]", R"(["x"])"}, {"[1,2]"}},
      // Properties that only `required` names, and properties that may be anything or nothing.
      {R"({"type":"object","properties":{"b":{"const":1}},"required":["a"]})",
       {R"({"a":"x"})", R"({"a":null,"b":1})"},
       {R"({"b":1})", "{}"}},
      {R"({"type":"object","properties":{"a":true,"b":false},"required":["a"],"additionalProperties":false})",
       {R"({"a":[1]})"},
       {R"({"a":1,"b":1})"}},
  };
  for (const SchemaCase& one : cases) {
    const json schema = json::parse(one.schema);
    for (const std::string& text : one.good)
      EXPECT_TRUE(schema_takes(schema, text)) << one.schema << " " << text;
    for (const std::string& text : one.bad)
      EXPECT_FALSE(schema_takes(schema, text)) << one.schema << " " << text;
  }
}

TEST_F(AnswerSchemaTest, SchemasThatCannotBeMergedAreNamed) {
  const auto found = [](const char* schema) { return schema_for_grammar(json::parse(schema)).not_enforced; };
  EXPECT_THAT(found(R"({"allOf":[{"pattern":"^a"},{"pattern":"b$"}]})"), testing::ElementsAre("allOf at /"));
  EXPECT_THAT(found(R"({"type":"string","anyOf":[{"type":"string"},{"type":"null"}]})"),
              testing::ElementsAre("type at /"));
  EXPECT_THAT(found(R"({"anyOf":[{"const":1}],"oneOf":[{"const":1}]})"), testing::ElementsAre("anyOf at /"));
  EXPECT_THAT(found(R"({"prefixItems":[{"const":1}],"items":{"const":2},"minItems":3})"),
              testing::ElementsAre("items at /", "minItems at /"));
  EXPECT_THAT(found(R"({"type":"object","properties":{},"required":["a"],"additionalProperties":false})"),
              testing::ElementsAre("required at /"));
  EXPECT_THAT(found(R"({"$dynamicRef":"#x"})"), testing::ElementsAre("$dynamicRef at /"));
  // This schema refers to itself first of all.
  EXPECT_THAT(found(R"({"$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"},{"type":"null"}]}},"$ref":"#/$defs/a"})"),
              testing::ElementsAre("allOf at /$defs/a"));
}

TEST_F(AnswerSchemaTest, CopiesOfWhatIsReferredToAreFew) {
  // Each definition contains the next one twice: written out, it would have 2^60 parts.
  std::string schema = R"({"$ref":"#/$defs/d0","$defs":{"d60":{"type":"null"})";
  for (int i = 0; i < 60; ++i) {
    schema += R"(,"d)" + std::to_string(i) +
              R"(":{"allOf":[{"type":"object","properties":{"a":{"$ref":"#/$defs/d)" + std::to_string(i + 1) +
              R"("}}},{"properties":{"b":{"$ref":"#/$defs/d)" + std::to_string(i + 1) +
              R"(","minProperties":0}}}]})";
  }
  const AnswerSchema merged = schema_for_grammar(json::parse(schema + "}}"));
  EXPECT_LT(merged.schema.dump().size(), 1U << 20);
}

TEST_F(AnswerSchemaTest, EitherOfTwoGrammarsMayBeFollowed) {
  const std::string either = either_grammar("root ::= item+ # root\nitem ::= [a-c] | \"root\"\n",
                                            "root ::= \"item\" item{2}\nitem ::= [0-9]\n");
  EXPECT_TRUE(follows(either, "abroot"));
  EXPECT_TRUE(follows(either, "item42"));
  EXPECT_FALSE(follows(either, "item4"));
  EXPECT_FALSE(follows(either, "ab42"));
  const std::string behind = grammar_behind("say \"\\\n", "root ::= [0-9]+\n");
  EXPECT_TRUE(follows(behind, "say \"\\\n42"));
  EXPECT_FALSE(follows(behind, "42"));
}

}  // namespace
}  // namespace brimful::constraint
