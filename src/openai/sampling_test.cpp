#include "openai/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/sampling_options.h"

namespace brimful::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using json = nlohmann::ordered_json;

/// Reads a body that needs no vocabulary.
Result<common_params_sampling> read(const json& body) {
  common_params_sampling out;
  if (const Status read = read_sampling(body, nullptr, out); !read) return std::unexpected(read.error());
  return out;
}
std::string refusal(const json& body) {
  const auto out = read(body);
  if (out) return "it was taken";
  EXPECT_EQ(out.error().code, ErrorCode::kInvalidArgument);
  return out.error().message;
}
double value_of(const engine::SamplingOption& option, const common_params_sampling& params) {
  return std::visit([&](auto member) { return static_cast<double>(params.*member); }, option.value);
}

TEST(ReadSampling, EachOptionIsReadByEachOfItsNames) {
  for (const engine::SamplingOption& option : engine::sampling_options()) {
    const double usual = value_of(option, {});
    const double other = usual == 1 ? option.least : 1;  // 1 is in the range of every option but small ones
    if (other < option.least || other > option.most) continue;
    for (const char* const name : {option.field, option.other_field}) {
      if (name == nullptr) continue;
      const auto out = read({{name, other}});
      ASSERT_TRUE(out) << out.error().message;
      EXPECT_EQ(value_of(option, *out), static_cast<float>(other)) << name;
    }
  }
}

TEST(ReadSampling, EachRangeHasItsEndsInItAndNothingBehindThem) {
  for (const engine::SamplingOption& option : engine::sampling_options()) {
    const double most = option.most_in_requests.value_or(option.most);
    EXPECT_TRUE(read({{option.field, option.least}})) << option.field;
    EXPECT_TRUE(read({{option.field, most}})) << option.field;
    EXPECT_THAT(refusal({{option.field, option.least - 1}}),
                StartsWith(std::string(option.field) + ": must be"));
    EXPECT_THAT(refusal({{option.field, most * 2 + 1}}), StartsWith(std::string(option.field) + ": must be"));
    EXPECT_THAT(refusal({{option.field, "1"}}), StartsWith(std::string(option.field) + ": must be"));
  }
}

TEST(ReadSampling, TheFieldsOwnNameWinsOverItsOtherOne) {
  EXPECT_EQ(read({{"repeat_penalty", 1.5}, {"repetition_penalty", 1.25}})->penalty_repeat, 1.5F);
  EXPECT_EQ(read({{"repetition_penalty", 1.25}, {"repeat_penalty", 1.5}})->penalty_repeat, 1.5F);
}

TEST(ReadSampling, WhatIsMissingStaysAsItWas) {
  common_params_sampling out;
  out.temp = 0.25F;
  out.ignore_eos = true;
  ASSERT_TRUE(read_sampling({{"temperature", nullptr}, {"top_k", 7}}, nullptr, out));
  EXPECT_EQ(out.temp, 0.25F);
  EXPECT_EQ(out.top_k, 7);
  EXPECT_TRUE(out.ignore_eos);
}

TEST(ReadSampling, ASeedIsTakenModulo32Bits) {
  EXPECT_EQ(read({{"seed", 7}})->seed, 7U);
  EXPECT_EQ(read({{"seed", -1}})->seed, LLAMA_DEFAULT_SEED);
  EXPECT_EQ(read({{"seed", (std::int64_t{1} << 32) + 5}})->seed, 5U);
  EXPECT_THAT(refusal({{"seed", "7"}}), StartsWith("seed: must be an integer"));
  EXPECT_THAT(refusal({{"seed", 1.5}}), StartsWith("seed: must be an integer"));
}

TEST(ReadSampling, BiasesAreNumbersOrFalse) {
  for (const json& wrong : {json("x"), json(7), json{{"1", "x"}}, json{{"1", true}}, json{{"1", nullptr}},
                            json::array({1}), json::array({json::array({1, 2, 3})})})
    EXPECT_EQ(refusal({{"logit_bias", wrong}}), "logit_bias: must map token ids to numbers") << wrong.dump();
  EXPECT_THAT(read({{"logit_bias", json::object()}})->logit_bias, IsEmpty());
}

TEST(ReadSampling, SamplersHaveNamesOrLetters) {
  const auto names = read({{"samplers", {"top_k", "temperature"}}});
  ASSERT_TRUE(names) << names.error().message;
  EXPECT_THAT(names->samplers, ElementsAre(COMMON_SAMPLER_TYPE_TOP_K, COMMON_SAMPLER_TYPE_TEMPERATURE));
  EXPECT_EQ(read({{"samplers", "kt"}})->samplers, names->samplers);
  EXPECT_THAT(refusal({{"samplers", {"top_k", "luck"}}}), StartsWith("samplers: names an unknown sampler"));
  EXPECT_THAT(refusal({{"samplers", "k?"}}), StartsWith("samplers: names an unknown sampler"));
  EXPECT_THAT(refusal({{"samplers", {1}}}), StartsWith("samplers: must be a string or an array"));
}

TEST(ReadSampling, DryNeedsOneBreakerAtLeast) {
  EXPECT_THAT(read({{"dry_sequence_breakers", {"\n", "."}}})->dry_sequence_breakers, ElementsAre("\n", "."));
  EXPECT_EQ(refusal({{"dry_sequence_breakers", json::array()}}),
            "dry_sequence_breakers: must have at least one element");
}

TEST(UnknownFields, OnlyWhatNobodyReadsIsNamed) {
  const json body = {
      {"model", "m"}, {"temperature", 1}, {"repetition_penalty", 1}, {"magic", 1}, {"nothing", nullptr}};
  EXPECT_THAT(unknown_fields(Endpoint::kChat, body), ElementsAre(StartsWith("magic: ")));
  EXPECT_THAT(unknown_fields(Endpoint::kChat, json::object()), IsEmpty());
}

TEST(UnknownFields, EachEndpointHasItsOwn) {
  EXPECT_THAT(unknown_fields(Endpoint::kChat, {{"messages", 1}, {"prompt", 1}}),
              ElementsAre(StartsWith("prompt: ")));
  EXPECT_THAT(unknown_fields(Endpoint::kCompletion, {{"messages", 1}, {"prompt", 1}}),
              ElementsAre(StartsWith("messages: ")));
}

TEST(UnknownFields, ANameThatIsTooLongIsNotRepeated) {
  EXPECT_THAT(unknown_fields(Endpoint::kChat, {{std::string(65, 'x'), 1}}), IsEmpty());
  EXPECT_EQ(unknown_fields(Endpoint::kChat, {{std::string(64, 'x'), 1}}).size(), 1U);
}

}  // namespace
}  // namespace brimful::openai
