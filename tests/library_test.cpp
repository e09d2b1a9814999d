// The public interface: what its sessions answer, beside the answers of the program, and what it refuses.

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "adapter_files.h"
#include "foreign/foreign_limits.h"
#include "library_fixture.h"
#include "scripted_model.h"
#include "synth/synth.h"

namespace brimful::tests {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ContainsRegex;
using testing::Each;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// A text that names a flag of the program, such as --ram or -ub.
const auto kNamesAFlag = ContainsRegex("(^|[ (`'])--?[a-z]");

// A plain template with a variable of its own; kChatMl has none.
constexpr const char* kTemplate =
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}{{ style }}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

/// What `brimful plan --json` says of a model and a machine.
nlohmann::json plan_of_program(const std::filesystem::path& file, std::vector<std::string> more) {
  std::vector<std::string> all{"plan", "-m", file.string(), "-t", "2", "-c", "512", "-ub", "64", "--json"};
  all.insert(all.end(), more.begin(), more.end());
  const ProgramRun run = run_brimful(all);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return nlohmann::json::parse(run.out, nullptr, false);
}

ContextOptions planned_context(const std::optional<Machine>& machine) {
  return {.tokens = 512, .ubatch = 64, .threads = 2, .machine = machine};
}

/// Compares a forecast with that of the program, but for the time until the vocabulary is read, which is
/// measured.
void expect_same(const Forecast& forecast, const nlohmann::json& json) {
  EXPECT_DOUBLE_EQ(forecast.answer_tokens_per_second, json["decode_tokens_per_second"]);
  EXPECT_DOUBLE_EQ(forecast.prompt_tokens_per_second, json["prompt_tokens_per_second"]);
  EXPECT_DOUBLE_EQ(forecast.first_token.count(), json["first_token_seconds"]);
  EXPECT_EQ(to_string(forecast.pass.bound_by), json["bound_by"]["decode"].get<std::string>());
  EXPECT_EQ(to_string(forecast.prompt.bound_by), json["bound_by"]["prompt"].get<std::string>());
  EXPECT_EQ(forecast.requests, json["workload"]["sequences"]);
  EXPECT_EQ(forecast.prompt_tokens, json["workload"]["prompt_tokens"]);
  EXPECT_EQ(forecast.pass.read.value, json["read_bytes_per_pass"]);
  EXPECT_DOUBLE_EQ(forecast.pass.compute.count(), json["seconds_per_pass"]["compute"]);
  EXPECT_DOUBLE_EQ(forecast.pass.gpu.count(), json["seconds_per_pass"]["gpu"]);
  EXPECT_DOUBLE_EQ(forecast.prompt.total.count(), json["seconds_per_prompt"]["total"]);
  EXPECT_GT(forecast.load.count(), 0);
}

/// Why this cannot be planned.
std::string why_not(const std::filesystem::path& file, const Budgets& budgets,
                    const ContextOptions& context = {}) {
  const auto model = Model::open(file);
  const auto plan = model ? model->plan(budgets, context) : std::unexpected(model.error());
  return plan ? "it can be planned" : plan.error().message;
}

std::filesystem::path write_tiny_model(const std::filesystem::path& file) {
  const auto design = synth::design_synth({.like = "llama-tiny", .type = "F32"});
  if (!design) throw std::runtime_error(design.error().message);
  const auto written = synth::write_synth(*design, file, true, [](Bytes) {});
  if (!written) throw std::runtime_error(written.error().message);
  return written->front();
}

TEST_F(Library, GivesTheTokensOfTheProgramWithAdaptersAndCacheTypes) {
  const std::string file = write_tiny_model(directory_.path() / "model.gguf").string();
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

TEST_F(Library, ForecastsWhatTheProgramForecastsForAnotherMachine) {
  constexpr const char* kDesktop = "64gb-ddr4-3600, nvme-gen3, 8c16t";
  const auto machine = Machine::like(kDesktop);
  ASSERT_TRUE(machine);
  EXPECT_FALSE(machine->is_this_machine());
  const nlohmann::json json = plan_of_program(model_, {"--like", kDesktop, "--ram", "1GiB"});
  const auto model = Model::open(model_);
  const auto plan = model->plan({.ram = kGiB}, planned_context(*machine), {.changes = true});
  ASSERT_TRUE(plan) << plan.error().message;
  ASSERT_TRUE(plan->forecast);
  expect_same(*plan->forecast, json);
  EXPECT_EQ(plan->context, json["run"]["context"]);
  EXPECT_EQ(plan->account.tiers.at(0).budget.value, json["budget_bytes"]["host"]);
  EXPECT_EQ(plan->streamed_per_pass.value, json["streamed_bytes_per_pass"]);
  ASSERT_FALSE(plan->changes.empty());
  ASSERT_EQ(plan->changes.size(), json["changes"].size());
  for (std::size_t i = 0; i < plan->changes.size(); ++i) {
    const nlohmann::json& change = json["changes"][i];
    EXPECT_EQ(plan->changes[i].what, change["what"].get<std::string>());
    EXPECT_DOUBLE_EQ(plan->changes[i].factor, change["factor"]);
    EXPECT_EQ(plan->changes[i].weights.value, change.value("weights_bytes", std::uint64_t{0}));
  }
  EXPECT_TRUE(model->plan({.ram = kGiB}, planned_context(*machine))->changes.empty()) << "nobody asked";

  // The same machine from a file.
  std::ofstream(directory_.path() / "machine.json") << machine->to_json();
  const auto read = Machine::read(directory_.path() / "machine.json");
  ASSERT_TRUE(read) << read.error().message;
  const auto again = model->plan({.ram = kGiB}, planned_context(*read), {.prompt_tokens = 100});
  ASSERT_TRUE(again && again->forecast);
  expect_same(*again->forecast,
              plan_of_program(model_, {"--like", kDesktop, "--ram", "1GiB", "--prompt-tokens", "100"}));
}

TEST_F(Library, ForecastsRequestsTogetherInAnOpenContext) {
  const auto machine = Machine::like("64gb-ddr4-3600, nvme-gen3, 8c16t");
  ASSERT_TRUE(machine);
  const auto model = Model::open(model_);
  const auto one = model->plan({.ram = kGiB}, {.machine = *machine});
  const auto eight = model->plan({.ram = kGiB}, {.sequences = 8, .machine = *machine});
  ASSERT_TRUE(one && one->forecast && eight && eight->forecast);
  EXPECT_EQ(one->forecast->requests, 1U);
  EXPECT_EQ(eight->forecast->requests, 8U);
  EXPECT_EQ(one->forecast->prompt_tokens, model->train_context() / 2) << "half is left to the answer";
  EXPECT_EQ(eight->forecast->prompt_tokens, model->train_context() / 2);
  EXPECT_GT(eight->forecast->answer_tokens_per_second, one->forecast->answer_tokens_per_second);
  EXPECT_DOUBLE_EQ(eight->forecast->answer_tokens_per_second * eight->forecast->pass.total.count(), 8);
}

TEST_F(Library, ForecastsForGpusThatAreNotHere) {
  constexpr const char* kWithGpu = "rtx-3060-12gb, 64gb-ddr4-3600, nvme-gen3, 8c16t";
  const auto machine = Machine::like(kWithGpu);
  ASSERT_TRUE(machine);
  ASSERT_EQ(machine->gpus().size(), 1U);
  EXPECT_EQ(machine->gpus()[0].device, "CUDA0");
  EXPECT_EQ(machine->gpus()[0].memory, kGiB * 12);
  const nlohmann::json json =
      plan_of_program(model_, {"--like", kWithGpu, "--ram", "1GiB", "--vram", "1GiB"});
  const auto model = Model::open(model_);
  const auto plan = model->plan({.ram = kGiB, .vram = {{.bytes = kGiB}}}, planned_context(*machine));
  ASSERT_TRUE(plan && plan->forecast) << plan.error().message;
  expect_same(*plan->forecast, json);
  EXPECT_EQ(plan->forecast->pass.bound_by, Bound::kGpu);
  ASSERT_EQ(plan->account.tiers.size(), 2U);
  EXPECT_EQ(plan->account.tiers[1].tier, "CUDA0");
  Bytes sum;
  for (const auto& [tag, bytes] : plan->account.tiers[1].tags) sum += bytes;
  EXPECT_EQ(sum, kGiB);
  const auto without = model->plan({.ram = kGiB}, planned_context(*machine));
  ASSERT_TRUE(without && without->forecast);
  EXPECT_EQ(without->account.tiers.size(), 1U) << "no budget, no GPU";
  EXPECT_EQ(without->forecast->pass.gpu.count(), 0);
  const auto refused =
      model->plan({.ram = kGiB, .vram = {{.device = "CUDA1", .bytes = kGiB}}}, planned_context(*machine));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(refused.error().message.starts_with("budgets.vram CUDA1=")) << refused.error().message;
}

TEST_F(Library, AForecastOfAStreamedModelReadsWhatThePlanStreams) {
  const auto machine = Machine::like("64gb-ddr4-3600, hard-disk, 8c16t");
  ASSERT_TRUE(machine) << machine.error().message;
  const auto model = Model::open(model_);
  const auto plan = model->plan({.ram = kMiB * 90}, planned_context(*machine));
  ASSERT_TRUE(plan && plan->forecast) << plan.error().message;
  EXPECT_GT(plan->streamed_per_pass, Bytes{});
  EXPECT_GE(plan->forecast->pass.read, plan->streamed_per_pass) << "in whole blocks";
  EXPECT_EQ(plan->forecast->pass.bound_by, Bound::kDisk);
  EXPECT_GT(plan->forecast->pass.disk, plan->forecast->pass.compute);
}

TEST_F(Library, KnowsHowFastThisMachineIsAfterAProbe) {
  ASSERT_EQ(::setenv("XDG_CACHE_HOME", directory_.path().c_str(), 1), 0);
  const auto model = Model::open(model_);
  EXPECT_FALSE(Machine::known(*model, 2));
  EXPECT_FALSE(model->plan({.ram = kGiB}, planned_context({}), {.changes = true})->forecast);
  const ProgramRun probe = run_brimful({"probe", "--quick", "-m", model_.string(), "-t", "2", "--json"},
                                       nullptr, std::chrono::seconds(280));
  ASSERT_EQ(probe.exit_code, 0) << probe.err;
  // Other programs may have used the processors, and then the rates would not count.
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path() / "brimful")) {
    nlohmann::json profile = nlohmann::json::parse(std::ifstream(entry.path()));
    profile.erase("disturbed_by_processors");
    std::ofstream(entry.path()) << profile;
  }
  const auto machine = Machine::known(*model, 2);
  ASSERT_TRUE(machine);
  EXPECT_TRUE(machine->is_this_machine());
  EXPECT_FALSE(Machine::known(*model, 1)) << "other threads have other rates";
  int steps = 0;
  const auto measured = Machine::measure(*model, 2, [&](std::string_view, int, int) { ++steps; });
  ASSERT_TRUE(measured) << measured.error().message;
  EXPECT_EQ(steps, 0) << "everything is known";
  EXPECT_EQ(measured->measured(), machine->measured());

  const auto plan = model->plan({.ram = kGiB}, planned_context({}), {.changes = true});
  ASSERT_TRUE(plan && plan->forecast);
  const nlohmann::json json = plan_of_program(model_, {"--ram", "1GiB"});
  expect_same(*plan->forecast, json);
  ASSERT_FALSE(plan->changes.empty());
  EXPECT_EQ(plan->changes[0].what, json["changes"][0]["what"].get<std::string>());

  // A session whose context is open takes the shape of its plan, which is chosen by these rates.
  const ContextOptions open{.threads = 2, .machine = *machine};
  const auto shaped = model->plan({.ram = kGiB}, open);
  const auto session = Session::start(*model, {.ram = kGiB}, open);
  ::unsetenv("XDG_CACHE_HOME");
  ASSERT_TRUE(shaped && shaped->forecast && session);
  EXPECT_NE(nlohmann::json(shaped->notes).dump().find("plan: weighed"), std::string::npos);
  EXPECT_EQ(nlohmann::json(session->notes()).dump(), nlohmann::json(shaped->notes).dump());
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
  expect_not_started(model_, {.prompt_threads = 0}, ErrorCode::kInvalidArgument, "context.prompt_threads: 0");
  expect_not_started(model_, {.key_cache = "q3"}, ErrorCode::kInvalidArgument,
                     "context.key_cache q3: is not a cache type; choose one of f32");
  expect_not_started(model_, {.value_cache = "q8_0", .flash_attention = false}, ErrorCode::kInvalidArgument,
                     "context.value_cache q8_0: a quantised V cache needs flash attention; leave out "
                     "context.flash_attention");
  expect_not_started(model_, {.loras = {{directory_.path() / "none.gguf"}}}, ErrorCode::kNotFound,
                     "none.gguf");
  expect_not_started(model_, {.machine = *Machine::like("64gb-ddr4-3600, nvme-gen3, 8c16t")},
                     ErrorCode::kInvalidArgument,
                     "machine: 64gb-ddr4-3600, nvme-gen3, 8c16t is not this machine");
  const auto planned = Model::open(model_)->plan({}, {}, {.prompt_tokens = 0});
  ASSERT_FALSE(planned);
  EXPECT_TRUE(planned.error().message.starts_with("prompt_tokens: ")) << planned.error().message;
  EXPECT_FALSE(Machine::like("quantum-9000, 64gb-ddr4-3600, nvme-gen3"));
  expect_not_started(model_, {.placement = {.gpu_layers = 1}}, ErrorCode::kInvalidArgument,
                     "the fields of context.placement need budgets.vram");
}

TEST_F(Library, TheReasonsOfAPlanNameTheFieldsOfTheLibrary) {
  EXPECT_THAT(why_not(model_, {.ram = kMiB * 20}),
              AllOf(ContainsRegex("does not fit budgets.ram 20.0 MiB: .*; budgets.ram [0-9]+MiB would fit"),
                    Not(kNamesAFlag)));
  EXPECT_THAT(
      why_not(model_, {.ram = kMiB * 400}, {.tokens = 65536, .ubatch = 512}),
      AllOf(ContainsRegex("budgets.ram [0-9]+MiB would fit, or context.tokens [0-9]+ "), Not(kNamesAFlag)));
  EXPECT_THAT(why_not(model_, {.ram = kGiB}, {.tokens = 1U << 30}),
              AllOf(HasSubstr("budgets.ram 1.00 GiB: context.tokens 1073741824 takes "),
                    HasSubstr("use a smaller context.tokens"), Not(kNamesAFlag)));
  const auto tiny = write_tiny_model(directory_.path() / "tiny.gguf");
  EXPECT_THAT(why_not(model_, {.ram = kGiB}, {.drafts = {.model = tiny}}),
              AllOf(StartsWith("context.drafts.model "), Not(kNamesAFlag)));
  const auto lora = directory_.path() / "lora.gguf";
  lora_for(tiny).write(lora, 1);
  EXPECT_THAT(why_not(tiny, {.ram = kMiB}, {.loras = {{lora}}}),
              AllOf(HasSubstr("and budgets.ram leaves 0 B: use a larger budgets.ram"), Not(kNamesAFlag)));
}

TEST_F(Library, TheNotesOfAPlanNameTheFieldsOfTheLibrary) {
  const auto model = Model::open(model_);
  ASSERT_TRUE(model);
  const auto too_much = model->plan({.ram = kGiB * (1U << 20)}, {.threads = 1U << 20});
  ASSERT_TRUE(too_much) << too_much.error().message;
  EXPECT_THAT(too_much->notes,
              AllOf(Contains(ContainsRegex("^budgets.ram .* is more than the machine has")),
                    Contains(StartsWith("context.threads 1048576: ")), Each(Not(kNamesAFlag))));
}

TEST_F(Library, TheRefusalsOfASessionNameTheFieldsOfTheLibrary) {
  Session session = start(model_, {.tokens = 256});
  std::string long_prompt;
  for (int i = 0; i < 300; ++i) long_prompt += "word ";
  const auto too_long = session.generate({.text = long_prompt}, greedy(1));
  ASSERT_FALSE(too_long);
  EXPECT_THAT(too_long.error().message, AllOf(HasSubstr("the context holds 256"), Not(kNamesAFlag)));
  const auto refusal = [&](const Budgets& budgets) {
    const Status changed = session.change_budgets(budgets);
    return changed ? "it was changed" : changed.error().message;
  };
  EXPECT_EQ(refusal({.ram = Bytes{}}), "budgets.ram: a budget of 0 bytes holds nothing");
  EXPECT_EQ(refusal({.vram = {{"", kMiB}}}), "no GPU is used: start with budgets.vram");
  EXPECT_EQ(refusal({.vram = {{"CUDA0", kMiB}}}), "CUDA0: no GPU is used: start with budgets.vram");
  EXPECT_THAT(refusal({.ram = kMiB}),
              AllOf(HasSubstr("does not fit budgets.ram 1.0 MiB: "), Not(kNamesAFlag)));
  EXPECT_THAT(session.notes(), Each(Not(kNamesAFlag)));
}

}  // namespace
}  // namespace brimful::tests
