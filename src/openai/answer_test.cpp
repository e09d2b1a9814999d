// Tests requests of OpenAI's API and their answers, with models that generate a scripted text.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json_text.h"
#include "openai/stream.h"
#include "openai/submit.h"
#include "schedule/prompt_length.h"
#include "schedule/scheduler.h"
#include "scripted_model.h"
#include "temporary_directory.h"

namespace brimful::openai {
namespace {

using nlohmann::json;
using tests::Script;

using tests::kChatMl;
constexpr const char* kPlain =
    "{% for message in messages %}{{ message.role + ': ' + message.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";

const json kTool = {
    {"type", "function"},
    {"function",
     {{"name", "look"},
      {"parameters",
       {{"type", "object"}, {"properties", {{"at", {{"type", "string"}}}}}, {"required", {"at"}}}}}}};

/// A scripted model, and everything that serve and batch do with a request.
class Said {
 public:
  explicit Said(Script script, const std::string& chat_template = "") {
    script.control.insert(script.control.end(), {"<|im_start|>", "<|im_end|>"});
    auto opened =
        engine::Engine::open({.model = tests::write_scripted_model(directory_.path(), script), .ram = kGiB});
    EXPECT_TRUE(opened) << opened.error().message;
    engine_ = std::move(*opened);
    const Status prepared = engine_->prepare(
        {.context = 1024, .ubatch = 256, .sequences = 4, .shared_cells = true, .embeddings = true});
    EXPECT_TRUE(prepared) << prepared.error().message;
    EXPECT_TRUE(engine_->start({}));
    auto reader = ApiReader::create(*engine_, chat_template);
    EXPECT_TRUE(reader) << reader.error().message;
    reader_.emplace(std::move(*reader));
  }

  [[nodiscard]] Result<ApiRequest> read(json body, Endpoint endpoint = Endpoint::kChat) const {
    if (endpoint == Endpoint::kChat && !body.contains("messages"))
      body["messages"] = {{{"role", "user"}, {"content", "Where?"}}};
    return reader_->read(endpoint, body);
  }
  /// Reads a body as a client writes it, with the client's order of fields.
  [[nodiscard]] Result<ApiRequest> read_text(const std::string& body) const {
    const auto parsed = parse_ordered_json(body);
    EXPECT_TRUE(parsed) << parsed.error().message;
    return reader_->read(Endpoint::kChat, *parsed);
  }
  [[nodiscard]] std::string prompt_of(const ApiRequest& request) const {
    return common_detokenize(engine_->vocab(), request.request.prompt, true);
  }
  [[nodiscard]] std::string refusal(const json& body, Endpoint endpoint = Endpoint::kChat) const {
    const auto request = read(body, endpoint);
    return request ? "it was taken" : request.error().message;
  }
  [[nodiscard]] std::string prompt(const json& body) const {
    const auto request = read(body);
    EXPECT_TRUE(request) << request.error().message;
    return request ? prompt_of(*request) : "";
  }

  /// Returns the whole answer. It checks that the stream gives the same one.
  json ask(json body, Endpoint endpoint = Endpoint::kChat, std::size_t longest = SIZE_MAX) {
    if (!body.contains("max_tokens") && !body.contains("n_predict")) body["max_tokens"] = 100;
    if (!body.contains("temperature")) body["temperature"] = 0;
    auto request = read(std::move(body), endpoint);
    if (!request) return error_body(request.error());
    schedule::Scheduler scheduler(*engine_, {.most_running = 4, .longest_text = longest});
    AnswerStream stream({"id", "model", 1}, *request, reader_->vocab());
    std::string events;
    Result<std::vector<schedule::Answer>> answers;
    const auto ids =
        submit(scheduler, *request, schedule::Priority::kInteractive,
               {.on_piece = [&](std::size_t part,
                                schedule::Piece piece) { events += stream.add(part, std::move(piece)); },
                .on_end = [&](auto all) { answers = std::move(all); }});
    if (!ids) return error_body(ids.error());
    for (;;) {
      const auto more = scheduler.step();
      EXPECT_TRUE(more) << more.error().message;
      if (!more || !*more) break;
    }
    if (!answers) return error_body(answers.error());
    events += stream.end(*answers);
    json out = json::parse(answer_body({"id", "model", 1}, *request, *answers, reader_->vocab())
                               .dump(-1, ' ', false, json::error_handler_t::replace));
    if (endpoint == Endpoint::kChat) expect_same(events, out["choices"][0]);
    return out;
  }
  json message(const json& body) { return ask(body).value(json::json_pointer("/choices/0/message"), json()); }

 private:
  static void expect_same(const std::string& events, const json& choice) {
    json seen = {{"content", ""}, {"reasoning_content", ""}, {"tool_calls", json::array()}};
    json reason;
    for (std::size_t at = 0; events.substr(at, 7) != "data: [";) {
      const std::size_t end = events.find("\n\n", at);
      const json event = json::parse(events.substr(at + 6, end - at - 6)).at("choices").at(0);
      const json& delta = event.at("delta");
      for (const char* const key : {"content", "reasoning_content"})
        seen[key] = seen[key].get<std::string>() + delta.value(key, "");
      for (const json& call : delta.value("tool_calls", json::array())) {
        const std::size_t index = call.at("index");
        if (index == seen["tool_calls"].size()) {
          EXPECT_FALSE(call.value("id", "").empty());
          seen["tool_calls"].push_back({{"name", call.at("function").at("name")}, {"arguments", ""}});
        }
        json& arguments = seen["tool_calls"].at(index)["arguments"];
        arguments = arguments.get<std::string>() + call.at("function").value("arguments", "");
      }
      if (!event["finish_reason"].is_null()) reason = event["finish_reason"];
      at = end + 2;
    }
    const json& message = choice.at("message");
    EXPECT_EQ(seen["content"], message.at("content"));
    EXPECT_EQ(seen["reasoning_content"], message.value("reasoning_content", ""));
    const json calls = message.value("tool_calls", json::array());
    ASSERT_EQ(seen["tool_calls"].size(), calls.size());
    for (std::size_t i = 0; i < calls.size(); ++i)
      EXPECT_EQ(seen["tool_calls"][i]["arguments"], calls[i]["function"]["arguments"]);
    EXPECT_EQ(reason, choice.at("finish_reason"));
  }

  const tests::TemporaryDirectory directory_;
  std::unique_ptr<engine::Engine> engine_;
  std::optional<ApiReader> reader_;
};

/// The model writes thoughts, a sentence, and a tool call. The marks are control tokens.
Script thinks_and_calls() {
  return {.tokens = {"<think>", "Hm", ".", "</think>", "I look", ":", "<tool_call>",
                     "\n{\"name\": \"look\", ", "\"arguments\": {\"at\": \"mo", "on\"}}\n", "</tool_call>"},
          .control = {"<think>", "</think>", "<tool_call>", "</tool_call>"},
          .chat_template = kChatMl};
}

TEST(ApiAnswers, MarksThatAreControlTokensReachTheParserAndCallsHaveIds) {
  Said said(thinks_and_calls());
  const json answer = said.ask({{"tools", {kTool}}});
  ASSERT_TRUE(answer.contains("choices")) << answer;
  const json& message = answer["choices"][0]["message"];
  EXPECT_EQ(message["reasoning_content"], "Hm.") << answer;
  EXPECT_EQ(message["content"], "I look:");
  ASSERT_EQ(message["tool_calls"].size(), 1U) << answer;
  EXPECT_EQ(message["tool_calls"][0]["function"]["name"], "look");
  EXPECT_EQ(json::parse(message["tool_calls"][0]["function"]["arguments"].get<std::string>()),
            (json{{"at", "moon"}}));
  EXPECT_FALSE(message["tool_calls"][0]["id"].get<std::string>().empty());
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "tool_calls");
}

TEST(ApiAnswers, ThoughtsStayInTheContentWhereThatIsAsked) {
  Said said(thinks_and_calls());
  const json message = said.message({{"reasoning_format", "none"}});
  EXPECT_TRUE(message["content"].get<std::string>().starts_with("<think>Hm.</think>I look")) << message;
}

TEST(ApiAnswers, ATextThatTheParserDoesNotUnderstandIsContent) {
  Said said({.tokens = {"Now", "<tool_call>", "no call", "</tool_call>", " at all"},
             .control = {"<tool_call>", "</tool_call>"},
             .chat_template = kChatMl});
  // A grammar would not allow this text. It shows what the parser alone does.
  const auto request = said.read({{"tools", {kTool}}});
  ASSERT_TRUE(request) << request.error().message;
  const std::string text = "Now<tool_call>no call</tool_call> at all";
  EXPECT_EQ(request->parser.parse(text).content, text);
}

TEST(ApiAnswers, AGrammarIsObeyedWithAnyTemplate) {
  for (const char* const chat_template : {kChatMl, kPlain}) {
    Said said({.tokens = {"free", " text"}, .chat_template = chat_template});
    EXPECT_EQ(said.message({{"grammar", R"(root ::= "a"{5,5})"}})["content"], "aaaaa");
    const json refused = said.ask({{"grammar", "root ::= nowhere"}});
    EXPECT_EQ(refused["error"]["type"], "invalid_request_error") << refused;
    const json schema = {{"type", "json_schema"}, {"json_schema", {{"schema", {{"const", "b"}}}}}};
    EXPECT_EQ(said.message({{"response_format", schema}})["content"], "\"b\"");
  }
}

TEST(ApiAnswers, BytesThatAreNoTextBecomeTheReplacementCharacter) {
  Said said({.tokens = {"a", "<0xFF>", "b"}, .chat_template = kChatMl});
  EXPECT_EQ(said.message(json::object())["content"], "a\uFFFDb");
  EXPECT_EQ(said.ask({{"prompt", "x"}}, Endpoint::kCompletion)["choices"][0]["text"], "a\uFFFDb");
}

TEST(ApiAnswers, ASchemaBesideToolsLetsTheModelDoEither) {
  const json format = {
      {"type", "json_schema"},
      {"json_schema",
       {{"schema",
         {{"type", "object"}, {"properties", {{"n", {{"type", "integer"}}}}}, {"required", {"n"}}}}}}};
  const json both = {{"tools", {kTool}}, {"response_format", format}};
  Said answers({.tokens = {"{\"n\":", " 7", "}"}, .chat_template = kChatMl});
  EXPECT_EQ(answers.message(both)["content"], "{\"n\": 7}");
  Said calls({.tokens = {"<tool_call>", "\n{\"name\": \"look\", ", "\"arguments\": {\"at\": \"mo", "on\"}}\n",
                         "</tool_call>"},
              .control = {"<tool_call>", "</tool_call>"},
              .chat_template = kChatMl});
  const json message = calls.message(both);
  ASSERT_TRUE(message.contains("tool_calls")) << message;
  EXPECT_EQ(message["tool_calls"][0]["function"]["name"], "look");
}

TEST(ApiAnswers, ARequiredCallNeedsATemplateThatKnowsTools) {
  const Said said({.tokens = {"Hi"}, .chat_template = kPlain});
  EXPECT_THAT(said.refusal({{"tools", {kTool}}, {"tool_choice", "required"}}),
              testing::StartsWith("tool_choice: "));
  const auto optional = said.read({{"tools", {kTool}}});
  ASSERT_TRUE(optional) << optional.error().message;
  EXPECT_THAT(optional->warnings, testing::Contains(testing::StartsWith("tools: ")));
}

TEST(ApiAnswers, ArgumentsOfEarlierCallsMayBeEmptyAndCutOffOnesAreNamed) {
  const Said said(thinks_and_calls());
  const auto with = [](const json& arguments) {
    return json{{"messages",
                 {{{"role", "user"}, {"content", "Where?"}},
                  {{"role", "assistant"},
                   {"content", nullptr},
                   {"tool_calls",
                    {{{"id", "abcdefghi"},
                      {"type", "function"},
                      {"function", {{"name", "look"}, {"arguments", arguments}}}}}}},
                  {{"role", "tool"}, {"tool_call_id", "abcdefghi"}, {"content", "moon"}}}}};
  };
  for (const char* const nothing : {"", " \n"})
    EXPECT_THAT(said.prompt(with(nothing)), testing::HasSubstr(R"("arguments": {})"));
  EXPECT_THAT(said.prompt(with({{"at", "sun"}})), testing::HasSubstr("sun"));
  EXPECT_THAT(said.refusal(with("{\"at\": \"mo")),
              testing::AllOf(testing::StartsWith("messages[1].tool_calls[0].function.arguments: "),
                             testing::HasSubstr("cut off")));
}

TEST(ApiAnswers, AnAssistantsLastMessageIsContinued) {
  Said said({.tokens = {"the", " moon"}, .chat_template = kChatMl});
  const json ends = {{{"role", "user"}, {"content", "Where?"}},
                     {{"role", "assistant"}, {"content", "It is"}}};
  EXPECT_TRUE(said.prompt({{"messages", ends}}).ends_with("It is"));
  EXPECT_EQ(said.message({{"messages", ends}})["content"], "the moon");
  EXPECT_TRUE(said.prompt({{"messages", ends}, {"continue_final_message", false}})
                  .ends_with("<|im_start|>assistant\n"));
  json twice = ends;
  twice.push_back(ends[1]);
  EXPECT_THAT(said.refusal({{"messages", twice}}), testing::StartsWith("messages: "));
}

TEST(ApiAnswers, ReasoningEffortReachesTheTemplate) {
  const Said said({.tokens = {"Hi"}, .chat_template = kChatMl});
  EXPECT_THAT(said.prompt({{"reasoning_effort", "high"}}), testing::HasSubstr("effort high"));
  EXPECT_THAT(said.prompt({{"reasoning_effort", "none"}}), testing::Not(testing::HasSubstr("effort")));
  EXPECT_THAT(said.prompt({{"chat_template_kwargs", {{"reasoning_effort", "low"}}}}),
              testing::HasSubstr("effort low"));
}

TEST(ApiAnswers, ErrorsNameTheirField) {
  const Said said({.tokens = {"Hi"}, .chat_template = kChatMl});
  const Said picky(
      {.tokens = {"Hi"},
       .chat_template = std::string("{% if mood is defined %}{{ raise_exception('no moods') }}{% endif %}"
                                    "{% for m in messages %}{% if m.content == 'odd' %}{{ "
                                    "raise_exception('no odd ones') }}{% endif %}{% endfor %}") +
                        kPlain});
  const std::pair<json, const char*> cases[] = {
      {{{"tools", 3}}, "tools: "},
      {{{"tools", {{{"type", "function"}}}}}, "tools[0].function: "},
      {{{"tools",
         {{{"type", "function"}, {"function", {{"name", "f"}, {"parameters", {{"type", "nothing"}}}}}}}},
        {"tool_choice", "required"}},
       "tools: "},
      {{{"tool_choice", "sometimes"}}, "tool_choice: "},
      {{{"chat_template_kwargs", 1}}, "chat_template_kwargs: "},
      {{{"chat_template_kwargs", {{"enable_thinking", "yes"}}}}, "chat_template_kwargs.enable_thinking: "},
      {{{"reasoning_format", "odd"}}, "reasoning_format: "},
      {{{"samplers", {"top_k", "nosuch"}}}, "samplers: "},
      {{{"mirostat", 3}}, "mirostat: "},
      {{{"max_tokens", 8.5}}, "max_tokens: "},
      {{{"messages", json::array()}}, "messages: "}};
  for (const auto& [body, field] : cases) EXPECT_THAT(said.refusal(body), testing::StartsWith(field)) << body;
  EXPECT_THAT(picky.refusal({{"chat_template_kwargs", {{"mood", "good"}}}}),
              testing::AllOf(testing::StartsWith("chat_template_kwargs: "), testing::HasSubstr("no moods"),
                             testing::Not(testing::HasSubstr("\n"))));
  EXPECT_THAT(picky.refusal({{"messages", {{{"role", "user"}, {"content", "odd"}}}}}),
              testing::AllOf(testing::StartsWith("messages: "), testing::HasSubstr("no odd ones")));
}

TEST(ApiAnswers, SamplingOptionsAreObeyedAndUnknownFieldsAreNamed) {
  Said said({.tokens = {"one", "two", "three"}, .chat_template = kChatMl});
  const json body = {{"mirostat", 2},
                     {"mirostat_tau", 3},
                     {"typical_p", 0.5},
                     {"xtc_probability", 0.25},
                     {"dynatemp_range", 0.5},
                     {"top_n_sigma", 1.5},
                     {"samplers", {"top_k", "temperature"}},
                     {"dry_multiplier", 0.5},
                     {"dry_sequence_breakers", {"x"}},
                     {"repetition_penalty", 1.25},
                     {"min_keep", 2},
                     {"n_predict", 2}};
  const auto request = said.read(body);
  ASSERT_TRUE(request) << request.error().message;
  const common_params_sampling& sampling = request->request.sampling;
  EXPECT_EQ(sampling.mirostat, 2);
  EXPECT_EQ(sampling.mirostat_tau, 3.0F);
  EXPECT_EQ(sampling.typ_p, 0.5F);
  EXPECT_EQ(sampling.xtc_probability, 0.25F);
  EXPECT_EQ(sampling.dynatemp_range, 0.5F);
  EXPECT_EQ(sampling.top_n_sigma, 1.5F);
  EXPECT_EQ(sampling.samplers, (std::vector{COMMON_SAMPLER_TYPE_TOP_K, COMMON_SAMPLER_TYPE_TEMPERATURE}));
  EXPECT_EQ(sampling.dry_multiplier, 0.5F);
  EXPECT_EQ(sampling.penalty_repeat, 1.25F);
  EXPECT_EQ(sampling.min_keep, 2);
  EXPECT_EQ(request->request.limit, 2);
  EXPECT_THAT(request->warnings, testing::IsEmpty());
  // Only the likeliest token is left, whatever the temperature is.
  EXPECT_EQ(said.message({{"top_n_sigma", 0.1}, {"temperature", 2}, {"n_predict", 2}})["content"], "onetwo");
  const json answer = said.ask({{"n_indent", 4}, {"user", "me"}});
  ASSERT_EQ(answer["warnings"].size(), 1U) << answer;
  EXPECT_THAT(answer["warnings"][0].get<std::string>(), testing::StartsWith("n_indent: "));
}

TEST(ApiAnswers, UnenforcedPartsOfASchemaAreAWarningOrAnErrorWhereItIsStrict) {
  const Said said({.tokens = {"7"}, .chat_template = kChatMl});
  const auto with = [](bool strict) {
    return json{
        {"response_format",
         {{"type", "json_schema"},
          {"json_schema", {{"strict", strict}, {"schema", {{"type", "integer"}, {"multipleOf", 7}}}}}}}};
  };
  EXPECT_THAT(said.refusal(with(true)),
              testing::AllOf(testing::StartsWith("response_format: "), testing::HasSubstr("multipleOf")));
  const auto loose = said.read(with(false));
  ASSERT_TRUE(loose) << loose.error().message;
  EXPECT_THAT(loose->warnings, testing::ElementsAre(testing::HasSubstr("multipleOf")));
}

TEST(ApiAnswers, UnenforcedPartsOfAToolsSchemaAreAWarningToo) {
  const Said said({.tokens = {"7"}, .chat_template = kChatMl});
  const auto with = [](bool strict) {
    json tool = kTool;
    tool["function"]["strict"] = strict;
    tool["function"]["parameters"]["properties"]["at"]["format"] = "email";
    return json{{"tools", {tool}}};
  };
  EXPECT_THAT(said.refusal(with(true)),
              testing::AllOf(testing::StartsWith("tools: "), testing::HasSubstr("format at /properties/at")));
  const auto loose = said.read(with(false));
  ASSERT_TRUE(loose) << loose.error().message;
  EXPECT_THAT(loose->warnings, testing::ElementsAre(testing::HasSubstr("format at /properties/at")));
}

TEST(ApiAnswers, FieldsOfEarlierAnswersMayBeNullOrHaveOtherNames) {
  const Said said({.tokens = {"7"}, .chat_template = kChatMl});
  const auto prompt_with = [&](json answer) {
    answer["role"] = "assistant";
    return said.prompt(
        {{"messages",
          {{{"role", "user"}, {"content", "Where?"}}, answer, {{"role", "user"}, {"content", "And?"}}}}});
  };
  const std::string plain = prompt_with({{"content", "There"}});
  EXPECT_EQ(prompt_with({{"content", "There"},
                         {"reasoning_content", nullptr},
                         {"name", nullptr},
                         {"tool_call_id", nullptr},
                         {"tool_calls", nullptr},
                         {"refusal", nullptr},
                         {"audio", nullptr},
                         {"function_call", nullptr}}),
            plain);
  EXPECT_EQ(prompt_with({{"content", {{{"type", "refusal"}, {"refusal", "There"}}}}}), plain);
  EXPECT_THAT(prompt_with({{"content", "There"}, {"reasoning_content", "Hm"}}), testing::HasSubstr("Hm"));
  EXPECT_EQ(prompt_with({{"content", "There"}, {"reasoning", "Hm"}}),
            prompt_with({{"content", "There"}, {"reasoning_content", "Hm"}}));
  EXPECT_THAT(said.refusal({{"messages", {{{"role", "user"}, {"content", "a"}, {"reasoning_content", 5}}}}}),
              testing::StartsWith("messages[0].reasoning_content: "));
}

TEST(ApiAnswers, OnlyAllowedToolsAreOffered) {
  const Said said({.tokens = {"7"}, .chat_template = kChatMl});
  json other = kTool;
  other["function"]["name"] = "hear";
  const auto with = [&](const json& names, const char* mode) {
    json tools = json::array();
    for (const json& name : names) tools.push_back({{"type", "function"}, {"function", {{"name", name}}}});
    return json{
        {"tools", {kTool, other}},
        {"tool_choice", {{"type", "allowed_tools"}, {"allowed_tools", {{"mode", mode}, {"tools", tools}}}}}};
  };
  const std::string prompt = said.prompt(with({"hear"}, "auto"));
  EXPECT_THAT(prompt, testing::HasSubstr("hear"));
  EXPECT_THAT(prompt, testing::Not(testing::HasSubstr("look")));
  EXPECT_THAT(said.refusal(with({"smell"}, "auto")), testing::StartsWith("tool_choice: "));
  EXPECT_THAT(said.refusal(with({"hear"}, "never")), testing::StartsWith("tool_choice.allowed_tools.mode: "));
}

TEST(ApiAnswers, FieldsKeepTheOrderInWhichAClientWritesThem) {
  const Said said({.tokens = {"7"}, .chat_template = kChatMl});
  const auto request = said.read_text(R"({
    "messages": [{"role": "user", "content": "Where?"}],
    "response_format": {"type": "json_schema", "json_schema": {"schema": {
      "type": "object", "properties": {"why": {"type": "string"}, "answer": {"type": "integer"}},
      "required": ["why", "answer"]}}}})");
  ASSERT_TRUE(request) << request.error().message;
  const std::string grammar = common_grammar_value(request->request.sampling.grammar);
  // The properties stay in order: a model thinks in the order in which it writes.
  EXPECT_THAT(grammar, testing::ContainsRegex("why-kv .*answer-kv"));

  const auto with_tool = said.read_text(R"({
    "messages": [{"role": "user", "content": "Where?"}],
    "tools": [{"type": "function", "function": {"name": "look", "parameters": {
      "type": "object", "properties": {"zone": {"type": "string"}, "at": {"type": "string"}}}}}]})");
  ASSERT_TRUE(with_tool) << with_tool.error().message;
  const std::string prompt = said.prompt_of(*with_tool);
  EXPECT_LT(prompt.find("\"zone\""), prompt.find("\"at\"")) << prompt;
}

TEST(ApiAnswers, MinusOneIsTheWholeContextAndOptionsThatAreOffAreTaken) {
  Said said({.tokens = {"one", "two", "three"}, .chat_template = kChatMl});
  EXPECT_EQ(said.message({{"repeat_last_n", -1},
                          {"dry_penalty_last_n", -1},
                          {"dry_multiplier", 0.5},
                          {"repeat_penalty", 1.5},
                          {"top_k", -1},
                          {"max_tokens", 2}})["content"],
            "onetwo");
  EXPECT_TRUE(said.read({{"prompt", "x"}, {"suffix", ""}}, Endpoint::kCompletion));
  EXPECT_THAT(said.refusal({{"prompt", "x"}, {"suffix", "y"}}, Endpoint::kCompletion),
              testing::StartsWith("suffix: "));
  const auto best = said.read({{"prompt", "x"}, {"n", 2}, {"best_of", 3}}, Endpoint::kCompletion);
  ASSERT_TRUE(best) << best.error().message;
  EXPECT_THAT(best->warnings, testing::ElementsAre(testing::StartsWith("best_of: ")));
}

TEST(ApiAnswers, NumbersBiasesAndPromptsAreTakenInSeveralForms) {
  Said said({.tokens = {"one", "two", "three"}, .chat_template = kChatMl});
  EXPECT_EQ(said.message({{"max_tokens", 2.0}})["content"], "onetwo");
  const auto biased = said.read({{"logit_bias", {{260U, -1.5}, {"259", false}}}});
  ASSERT_TRUE(biased) << biased.error().message;
  ASSERT_EQ(biased->request.sampling.logit_bias.size(), 2U);
  EXPECT_EQ(biased->request.sampling.logit_bias[0].token, 260);
  EXPECT_EQ(biased->request.sampling.logit_bias[1].bias, -INFINITY);
  EXPECT_TRUE(said.read({{"messages", {{{"role", "user"}, {"content", nullptr}}}}}));
  const auto mixed = said.read({{"prompt", {260U, "x", 261U}}}, Endpoint::kCompletion);
  ASSERT_TRUE(mixed) << mixed.error().message;
  EXPECT_EQ(mixed->request.prompt.front(), 260);
  EXPECT_EQ(mixed->request.prompt.back(), 261);
  EXPECT_TRUE(mixed->more_prompts.empty());
  const auto two = said.read({{"prompt", {{260U, 261U}, "x"}}}, Endpoint::kCompletion);
  ASSERT_TRUE(two) << two.error().message;
  EXPECT_EQ(two->more_prompts.size(), 1U);
}

TEST(ApiAnswers, APromptThatIsTooLongIsToldWithItsNumbers) {
  Said said({.tokens = {"Hi"}, .chat_template = kChatMl});
  const json answer = said.ask({{"prompt", std::string(2000, 'x')}}, Endpoint::kCompletion);
  EXPECT_EQ(answer["error"]["type"], "exceed_context_size_error") << answer;
  EXPECT_GT(answer["error"]["n_prompt_tokens"], 1024);
  EXPECT_EQ(answer["error"]["n_ctx"], 1024);
  EXPECT_FALSE(schedule::too_long_prompt({ErrorCode::kInvalidArgument, "prompt: is missing"}));
}

TEST(ApiAnswers, ATextIsNoLongerThanTheModelWasTrainedOn) {
  Said said({.tokens = {"one", "two", "three", "four"}, .chat_template = kChatMl});
  const json short_one = said.ask({{"prompt", {260U, 261U}}, {"max_tokens", 50}, {"ignore_eos", true}},
                                  Endpoint::kCompletion, 8);
  ASSERT_TRUE(short_one.contains("usage")) << short_one;
  EXPECT_EQ(short_one["usage"]["total_tokens"], 9)
      << short_one;  // the last token is not computed, so that it does not count
  EXPECT_EQ(short_one["choices"][0]["finish_reason"], "length");
  const json refused = said.ask({{"prompt", std::string(20, 'x')}}, Endpoint::kCompletion, 8);
  EXPECT_EQ(refused["error"]["n_ctx"], 8) << refused;
}

}  // namespace
}  // namespace brimful::openai
