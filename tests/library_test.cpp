// The public interface: what its sessions answer, beside the answers of the program, and what it refuses.

#include <cmath>
#include <limits>

#include "adapter_files.h"
#include "foreign/foreign_limits.h"
#include "library_fixture.h"
#include "scripted_model.h"
#include "synth/synth.h"

namespace brimful::tests {
namespace {

// A plain template with a variable of its own; kChatMl has none.
constexpr const char* kTemplate =
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}{{ style }}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

TEST_F(Library, GivesTheTokensOfTheProgramWithAdaptersAndCacheTypes) {
  const auto design = synth::design_synth({.like = "llama-tiny", .type = "F32"});
  ASSERT_TRUE(design);
  const auto written = synth::write_synth(*design, directory_.path() / "model.gguf", true, [](Bytes) {});
  ASSERT_TRUE(written);
  const std::string file = written->front().string();
  const auto lora = directory_.path() / "lora.gguf";
  const auto vector = directory_.path() / "vector.gguf";
  lora_for(file).write(lora, 1);
  control_vector_for(file).write(vector, 2);
  const SamplingOptions sampling{
      .numbers = {{"temperature", 0}}, .max_tokens = 24, .ignore_end_of_text = true};

  Session plain = start(file);
  const Completion without = answer(plain, kPrompt, sampling);
  EXPECT_EQ(nlohmann::json(without.tokens), tokens_of_run(file, {"--ignore-eos"}));
  Session adapted = start(file, {.key_cache = "q8_0",
                                 .value_cache = "f32",
                                 .flash_attention = true,
                                 .loras = {{lora, 0.5F}, {lora}},
                                 .control_vectors = {{vector, 2}}});
  const Completion with = answer(adapted, kPrompt, sampling);
  EXPECT_EQ(nlohmann::json(with.tokens),
            tokens_of_run(file, {"--ignore-eos", "--lora", lora.string() + ":0.5", "--lora", lora.string(),
                                 "--control-vector", vector.string() + ":2", "-ctk", "q8_0", "-ctv", "f32",
                                 "-fa", "on"}));
  EXPECT_NE(with.tokens, without.tokens);
}

TEST_F(Library, AnswersTokensAsTheTextThatTheyStandFor) {
  Session session = start(model_);
  const auto tokens = session.tokenize(kPrompt.text);
  ASSERT_TRUE(tokens);
  const Completion of_text = answer(session, kPrompt, greedy(12));
  EXPECT_EQ(of_text.prompt_tokens, tokens->size());
  EXPECT_EQ(answer(session, {.tokens = *tokens}, greedy(12)).tokens, of_text.tokens);
  EXPECT_EQ(session.text_of(of_text.tokens).value_or("an error"), of_text.text);
  const auto without = session.tokenize(kPrompt.text, false);
  ASSERT_TRUE(without);
  EXPECT_EQ(without->size() + 1, tokens->size()) << "the token for the beginning of a text is special";
  EXPECT_FALSE(session.text_of({-1}));
  EXPECT_FALSE(session.text_of({1 << 30}));
  expect_refused(session, {.tokens = {1 << 30}}, greedy(1), "tokens: ");
  expect_refused(session, {.text = "a", .tokens = *tokens}, greedy(1), "prompt: ");
}

TEST_F(Library, TellsTheLogProbabilitiesOfEachToken) {
  Session session = start(model_);
  SamplingOptions sampling = greedy(8);
  EXPECT_TRUE(answer(session, kPrompt, sampling).log_probabilities.empty());
  sampling.top_log_probabilities = 3;
  const Completion done = answer(session, kPrompt, sampling);
  ASSERT_EQ(done.log_probabilities.size(), done.tokens.size());
  for (std::size_t i = 0; i < done.tokens.size(); ++i) {
    const LogProbabilities& place = done.log_probabilities[i];
    ASSERT_EQ(place.top.size(), 3U);
    EXPECT_EQ(place.written.token, done.tokens[i]);
    EXPECT_EQ(place.top[0].token, done.tokens[i]) << "the likeliest one is written at temperature 0";
    EXPECT_EQ(place.top[0].log_probability, place.written.log_probability);
    double sum = 0;
    for (const TokenLogProbability& one : place.top) sum += std::exp(one.log_probability);
    EXPECT_GT(place.top[0].log_probability, place.top[1].log_probability);
    EXPECT_LE(sum, 1 + 1e-9);
  }
  sampling.top_log_probabilities = 21;
  expect_refused(session, kPrompt, sampling, "top_log_probabilities: ");
}

TEST_F(Library, ObeysBiasesAndTheOrderOfSamplers) {
  Session session = start(model_);
  const Completion free = answer(session, kPrompt, greedy(4));
  SamplingOptions sampling = greedy(4);
  sampling.token_biases = {{free.tokens[0], -std::numeric_limits<float>::infinity()}};
  EXPECT_NE(answer(session, kPrompt, sampling).tokens[0], free.tokens[0]);
  sampling.token_biases = {{5, 1000.0F}};
  EXPECT_EQ(answer(session, kPrompt, sampling).tokens, std::vector<std::int32_t>(4, 5));
  sampling.token_biases = {{-1, 1.0F}};
  expect_refused(session, kPrompt, sampling, "token_biases: ");
  sampling.token_biases = {{1, std::numeric_limits<float>::quiet_NaN()}};
  expect_refused(session, kPrompt, sampling, "token_biases: ");
  sampling.token_biases = {};
  // Without the sampler of temperatures, the number has no effect: top-k of 1 leaves the likeliest token.
  sampling.numbers = {{"temperature", 2}, {"top_k", 1}};
  sampling.samplers = {"top_k"};
  EXPECT_EQ(answer(session, kPrompt, sampling).tokens, free.tokens);
  sampling.samplers = {"no such sampler"};
  expect_refused(session, kPrompt, sampling, "samplers: ");
}

TEST_F(Library, CallsTheToolThatItMust) {
  const auto model = write_scripted_model(
      directory_.path(),
      {.tokens = {"<tool_call>\n", R"({"name": "weather", "arguments": {"hot": true}})", "\n</tool_call>"},
       .chat_template = kChatMl});
  Session session = start(model);
  Prompt prompt{.messages = {{.role = "user", .content = "What is the weather?"}},
                .tools = {{.name = "weather",
                           .description = "Tells the weather",
                           .parameters = R"({"type":"object","properties":{"hot":{"type":"boolean"}},)"
                                         R"("required":["hot"],"additionalProperties":false})"}},
                .tool_choice = ToolChoice::kRequired};
  const Completion done = answer(session, prompt, greedy(200));
  ASSERT_EQ(done.tool_calls.size(), 1U) << done.text;
  EXPECT_EQ(done.tool_calls[0].name, "weather");
  EXPECT_FALSE(done.tool_calls[0].id.empty());
  EXPECT_EQ(nlohmann::json::parse(done.tool_calls[0].arguments), (nlohmann::json{{"hot", true}}));
  EXPECT_EQ(done.text, "");

  // The result of the call goes back, and the model answers it.
  prompt.messages.push_back({.role = "assistant", .tool_calls = done.tool_calls});
  prompt.messages.push_back(
      {.role = "tool", .content = "It is cold.", .tool_call_id = done.tool_calls[0].id, .name = "weather"});
  prompt.tool_choice = ToolChoice::kNone;
  const Completion after = answer(session, prompt, greedy(8));
  EXPECT_GT(after.prompt_tokens, done.prompt_tokens);
  EXPECT_TRUE(after.tool_calls.empty());

  prompt.tools[0].parameters = "{";
  expect_refused(session, prompt, greedy(1), "tools[0].parameters: ");
  prompt.tools[0].name = "";
  expect_refused(session, prompt, greedy(1), "tools[0].name: ");
  prompt.tools.clear();
  prompt.tool_choice = ToolChoice::kRequired;
  expect_refused(session, prompt, greedy(1), "tool_choice: ");
  expect_refused(session, {.text = "a", .tools = {{.name = "weather"}}}, greedy(1), "tools: ");
}

TEST_F(Library, UsesTheCallersTemplateAndItsVariables) {
  Session session = start(model_, {.chat_template = kTemplate});
  Prompt prompt{.messages = {{.role = "user", .content = "Hello"}}};
  const std::size_t plain = answer(session, prompt, greedy(1)).prompt_tokens;
  prompt.template_arguments = {{"style", R"("in many more words than before")"}};
  EXPECT_GT(answer(session, prompt, greedy(1)).prompt_tokens, plain);
  prompt.template_arguments = {{"style", "no JSON"}};
  expect_refused(session, prompt, greedy(1), "template_arguments.style: ");
  prompt.template_arguments = {};
  prompt.continues_last_message = true;
  expect_refused(session, prompt, greedy(1), "continues_last_message: ");
  prompt.messages.push_back({.role = "assistant", .content = "Once upon a"});
  EXPECT_GT(answer(session, prompt, greedy(1)).prompt_tokens, plain);
  expect_refused(session, {.messages = {{.content = "no role"}}}, greedy(1), "messages[0].role: ");
}

TEST_F(Library, WritesTheSameTokensWithDraftsInFewerPasses) {
  const auto run = [&](const Drafts& drafts) {
    Session session = start(model_, {.tokens = 512, .drafts = drafts});
    const Completion done = answer(session, kPrompt, greedy(100));
    return std::pair(done.tokens, session.statistics());
  };
  const auto [tokens, plain] = run({});
  EXPECT_EQ(tokens.size(), 100U);
  EXPECT_EQ(plain.tokens, 100U);
  EXPECT_EQ(plain.passes, 100U);
  EXPECT_EQ(plain.draft_tokens, 0U);
  EXPECT_EQ(plain.read, Bytes{}) << "all weights are resident";
  const auto [drafted_tokens, drafted] = run({.model = model_, .most_tokens = 4});
  EXPECT_EQ(drafted_tokens, tokens);
  EXPECT_LT(drafted.passes, plain.passes);
  EXPECT_GT(drafted.draft_tokens_accepted, 0U);
  EXPECT_LE(drafted.draft_tokens_accepted, drafted.draft_tokens);
  const auto refused = Model::open(model_)->plan({.ram = kGiB}, {.drafts = {.model = "none.gguf"}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kNotFound);
}

TEST_F(Library, ASmallerBudgetHasSmallerLimitsForGrammarsAndTemplates) {
  Session session = start(model_);
  const Bytes less = kMiB * 130;
  ASSERT_LT(foreign::foreign_limits_for(less).reading.bytes, foreign::foreign_limits_for(kGiB).reading.bytes);
  EXPECT_EQ(foreign::foreign_limits().reading.bytes, foreign::foreign_limits_for(kGiB).reading.bytes);
  ASSERT_TRUE(session.change_budgets({.ram = less}));
  EXPECT_EQ(foreign::foreign_limits().reading.bytes, foreign::foreign_limits_for(less).reading.bytes);
  ASSERT_FALSE(session.change_budgets({.ram = kMiB}));
  EXPECT_EQ(foreign::foreign_limits().reading.bytes, foreign::foreign_limits_for(less).reading.bytes);
}

TEST_F(Library, RefusesWhatASessionCannotBe) {
  expect_not_started(model_, {.prompt_threads = 0}, ErrorCode::kInvalidArgument, "prompt_threads: 0");
  expect_not_started(model_, {.key_cache = "q3"}, ErrorCode::kInvalidArgument,
                     "key_cache q3: is not a cache type; choose one of f32");
  expect_not_started(model_, {.value_cache = "q8_0", .flash_attention = false}, ErrorCode::kInvalidArgument,
                     "value_cache q8_0");
  expect_not_started(model_, {.loras = {{directory_.path() / "none.gguf"}}}, ErrorCode::kNotFound,
                     "none.gguf");
  expect_not_started(model_, {.placement = {.gpu_layers = 1}}, ErrorCode::kInvalidArgument,
                     "placement need vram");
}

}  // namespace
}  // namespace brimful::tests
