#include "openai/request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// The prompts of all parts, and their seeds.
std::vector<std::vector<llama_token>> prompts(const ApiRequest& request) {
  std::vector<std::vector<llama_token>> out;
  for (const schedule::Request& part : request.parts()) out.push_back(part.prompt);
  return out;
}
std::vector<std::uint32_t> seeds(const ApiRequest& request) {
  std::vector<std::uint32_t> out;
  for (const schedule::Request& part : request.parts()) out.push_back(part.sampling.seed);
  return out;
}

TEST(Endpoints, AUrlIsOneOfThreeExactly) {
  EXPECT_EQ(endpoint_of("/v1/chat/completions"), Endpoint::kChat);
  EXPECT_EQ(endpoint_of("/v1/completions"), Endpoint::kCompletion);
  EXPECT_EQ(endpoint_of("/v1/embeddings"), Endpoint::kEmbeddings);
  for (const char* const other :
       {"", "/", "/v1/chat/completions/", "v1/completions", "/v1/Completions", "/v1/models"})
    EXPECT_EQ(endpoint_of(other), std::nullopt) << other;
}

TEST(Endpoints, AnAnswerSaysWhatItIs) {
  EXPECT_EQ(object_name(Endpoint::kChat), "chat.completion");
  EXPECT_EQ(object_name(Endpoint::kCompletion), "text_completion");
  EXPECT_EQ(object_name(Endpoint::kEmbeddings), "list");
}

TEST(ApiRequest, AllAnswersToAPromptComeBeforeTheNextPrompt) {
  ApiRequest request{.endpoint = Endpoint::kCompletion, .answers = 2};
  request.request.prompt = {1, 2};
  request.more_prompts = {{3}, {4, 5, 6}};
  EXPECT_THAT(prompts(request), ElementsAre(ElementsAre(1, 2), ElementsAre(1, 2), ElementsAre(3),
                                            ElementsAre(3), ElementsAre(4, 5, 6), ElementsAre(4, 5, 6)));
  EXPECT_EQ(request.part_count(), 6U);
  EXPECT_EQ(request.prompt_tokens(), 6U) << "a prompt counts once";
  EXPECT_EQ(request.longest_prompt(), 3U);
}

TEST(ApiRequest, AnswersToOnePromptHaveDifferentSeeds) {
  ApiRequest request{.answers = 3};
  request.request.prompt = {1};
  request.request.sampling.seed = 7;
  EXPECT_THAT(seeds(request), ElementsAre(7U, 8U, 9U));
  request.more_prompts = {{2}};
  EXPECT_THAT(seeds(request), ElementsAre(7U, 8U, 9U, 7U, 8U, 9U));
}

TEST(ApiRequest, WithoutASeedEveryAnswerIsRandom) {
  ApiRequest request{.answers = 2};
  request.request.prompt = {1};
  EXPECT_THAT(seeds(request), ElementsAre(LLAMA_DEFAULT_SEED, LLAMA_DEFAULT_SEED));
}

TEST(ApiRequest, EachInputIsAPartThatEmbeds) {
  ApiRequest request{.endpoint = Endpoint::kEmbeddings};
  EXPECT_THAT(request.parts(), IsEmpty());
  EXPECT_EQ(request.part_count(), 0U);
  request.embeddings.inputs = {{1}, {2, 3}};
  EXPECT_THAT(prompts(request), ElementsAre(ElementsAre(1), ElementsAre(2, 3)));
  EXPECT_TRUE(request.parts()[1].embed);
  EXPECT_EQ(request.part_count(), 2U);
  EXPECT_EQ(request.prompt_tokens(), 3U);
  EXPECT_EQ(request.longest_prompt(), 2U);
}

}  // namespace
}  // namespace brimful::openai
