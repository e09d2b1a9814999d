#include "session/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "session/notes.h"

namespace brimful::session {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr const char* kNumbers = R"({"type": "array", "items": {"type": "integer"}})";

std::string refusal(const SamplingOptions& options) {
  const auto params = sampling_params(options, 100);
  if (params) return "it was taken";
  EXPECT_EQ(params.error().code, ErrorCode::kInvalidArgument);
  return params.error().message;
}
std::string refusal_of_rules(const SamplingOptions& options) {
  std::vector<std::string> notes;
  const auto rules = answer_rules(options, notes_into(notes));
  if (rules) return "they were taken";
  EXPECT_EQ(rules.error().code, ErrorCode::kInvalidArgument);
  return rules.error().message;
}

TEST(SamplingOptions, EachHasANameOfItsOwnAndAUsualValueInItsRange) {
  std::set<std::string_view> names;
  for (const SamplingOption& option : sampling_options()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
    EXPECT_FALSE(option.help.empty()) << option.name;
    EXPECT_LE(option.least, option.usual) << option.name;
    EXPECT_LE(option.usual, option.most) << option.name;
  }
  EXPECT_TRUE(names.contains("temperature"));
}

TEST(SamplingParams, WithoutOptionsTheyAreTheUsualOnes) {
  const auto params = sampling_params({}, 100);
  ASSERT_TRUE(params);
  EXPECT_EQ(params->temp, common_params_sampling{}.temp);
  EXPECT_EQ(params->seed, LLAMA_DEFAULT_SEED) << "a random one";
}

TEST(SamplingParams, EveryOptionTakesBothEndsOfItsRangeAndNothingElse) {
  for (const SamplingOption& option : sampling_options()) {
    const std::string name(option.name);
    EXPECT_TRUE(sampling_params({.numbers = {{name, option.least}}}, 100)) << name;
    EXPECT_TRUE(sampling_params({.numbers = {{name, option.most}}}, 100)) << name;
    for (const double wrong :
         {option.least - 1, option.most * 2 + 1, std::nan(""), -double{INFINITY}, double{INFINITY}})
      EXPECT_THAT(refusal({.numbers = {{name, wrong}}}), StartsWith(name + ": ")) << wrong;
  }
}

TEST(SamplingParams, NumbersReachTheFieldOfTheirName) {
  const auto params =
      sampling_params({.numbers = {{"temperature", 0.5}, {"top_k", 7}, {"repetition_penalty", 1.25}}}, 100);
  ASSERT_TRUE(params);
  EXPECT_EQ(params->temp, 0.5F);
  EXPECT_EQ(params->top_k, 7);
  EXPECT_EQ(params->penalty_repeat, 1.25F);
}

TEST(SamplingParams, ANameThatNoOptionHasIsNamed) {
  EXPECT_THAT(refusal({.numbers = {{"temprature", 1}}}), StartsWith("temprature: "));
  EXPECT_THAT(refusal({.numbers = {{"", 1}}}), StartsWith(": "));
}

TEST(SamplingParams, ACountIsAWholeNumber) {
  EXPECT_THAT(refusal({.numbers = {{"top_k", 7.5}}}), StartsWith("top_k: "));
  EXPECT_EQ(sampling_params({.numbers = {{"top_k", 7.0}}}, 100)->top_k, 7);
}

TEST(SamplingParams, BreakersOfRepeatedSequencesAreLlamaCppsOwnUnlessSomeAreGiven) {
  EXPECT_EQ(sampling_params({}, 100)->dry_sequence_breakers, common_params_sampling().dry_sequence_breakers);
  EXPECT_THAT(sampling_params({.dry_sequence_breakers = {"a", "bc"}}, 100)->dry_sequence_breakers,
              ElementsAre("a", "bc"));
}

TEST(SamplingParams, EverySeedIsASeed) {
  EXPECT_EQ(sampling_params({.seed = 7}, 100)->seed, 7U);
  EXPECT_EQ(sampling_params({.seed = 0}, 100)->seed, 0U);
  EXPECT_NE(sampling_params({.seed = UINT32_MAX}, 100)->seed, LLAMA_DEFAULT_SEED)
      << "llama.cpp would choose a random one";
}

TEST(AnswerRules, WithoutAnyAnAnswerIsFree) {
  std::vector<std::string> notes;
  const auto rules = answer_rules({}, notes_into(notes));
  ASSERT_TRUE(rules);
  EXPECT_TRUE(rules->grammar.empty());
  EXPECT_FALSE(rules->schema);
}

TEST(AnswerRules, AGrammarHasNoSchemaAndASchemaHasAGrammar) {
  std::vector<std::string> notes;
  const auto grammar = answer_rules({.grammar = "root ::= \"yes\" | \"no\""}, notes_into(notes));
  ASSERT_TRUE(grammar) << grammar.error().message;
  EXPECT_FALSE(grammar->grammar.empty());
  EXPECT_FALSE(grammar->schema);
  const auto schema = answer_rules({.json_schema = kNumbers}, notes_into(notes));
  ASSERT_TRUE(schema) << schema.error().message;
  EXPECT_FALSE(schema->grammar.empty());
  EXPECT_EQ(schema->schema->at("items").at("type"), "integer");
  EXPECT_THAT(notes, IsEmpty());
}

TEST(AnswerRules, WhatIsWrongIsNamedByItsField) {
  EXPECT_THAT(refusal_of_rules({.grammar = "root ::= \"a\"", .json_schema = kNumbers}),
              StartsWith("grammar: "));
  EXPECT_THAT(refusal_of_rules({.grammar = "root ::= \"a\"{3,1}"}), StartsWith("grammar: "));
  EXPECT_THAT(refusal_of_rules({.grammar = "%llguidance {}"}), StartsWith("grammar: "));
  EXPECT_THAT(refusal_of_rules({.json_schema = "{"}), StartsWith("json_schema: "));
  EXPECT_THAT(refusal_of_rules({.json_schema = "{\"type\": \"\xff\"}"}), StartsWith("json_schema: "));
  EXPECT_THAT(refusal_of_rules({.json_schema = R"({"$ref": "#/nowhere"})"}), StartsWith("json_schema: "));
}

TEST(FollowedSchema, WhatIsNotEnforcedIsNoted) {
  std::vector<std::string> notes;
  const auto followed =
      followed_schema(R"({"type": "integer", "multipleOf": 5})", "--json-schema", notes_into(notes));
  ASSERT_TRUE(followed) << followed.error().message;
  EXPECT_THAT(notes, ElementsAre(HasSubstr("multipleOf")));
  EXPECT_THAT(notes[0], StartsWith("--json-schema: ")) << "without the mark that it has on a terminal";
}

TEST(FollowedSchema, AStrictOneIsRefusedWhereItCannotBeFollowed) {
  std::vector<std::string> notes;
  const auto followed =
      followed_schema(R"({"type": "integer", "multipleOf": 5})", "json_schema", notes_into(notes), true);
  ASSERT_FALSE(followed);
  EXPECT_EQ(followed.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(followed.error().message, StartsWith("json_schema: the schema is strict"));
  EXPECT_THAT(followed.error().message, HasSubstr("multipleOf"));
  EXPECT_THAT(notes, IsEmpty());
  EXPECT_TRUE(followed_schema(kNumbers, "json_schema", notes_into(notes), true));
}

}  // namespace
}  // namespace brimful::session
