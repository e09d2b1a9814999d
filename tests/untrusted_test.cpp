// Grammars, schemas, templates and numbers that break a library, or would take all memory and time. Each
// ends with one error, and no other client notices it. See docs/design-untrusted.md.

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "batch_requests.h"
#include "bombs.h"
#include "other_client.h"
#include "program_run.h"
#include "sanitized.h"
#include "served_program.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

using nlohmann::json;

std::string object_of(int properties) {
  std::string out = R"({"type":"object","properties":{)";
  for (int i = 0; i < properties; ++i)
    out += (i > 0 ? ",\"field_" : "\"field_") + std::to_string(i) + R"(":{"type":"integer"})";
  return out + "}}";
}

/// A request that carries a bomb.
struct BombRequest {
  std::string name;
  json body;
  std::string path = "/v1/completions";
};

json completion_with(json more) {
  json out = {{"prompt", "x"}, {"max_tokens", 30}, {"temperature", 0}};
  out.update(more);
  return out;
}
json schema_format(const std::string& schema) {
  return {{"type", "json_schema"}, {"json_schema", {{"schema", json::parse(schema)}}}};
}
json chat_with(json more) {
  json body = {{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"max_tokens", 30}};
  body.update(more);
  return body;
}

BombRequest chat_bomb(const std::string& name, json more) {
  return {name, chat_with(std::move(more)), "/v1/chat/completions"};
}
BombRequest prompt_bomb(const std::string& name, json more) {
  return {name, completion_with(std::move(more))};
}

std::vector<BombRequest> bomb_requests() {
  std::vector<BombRequest> out;
  for (const Bomb& bomb : grammar_bombs())
    out.push_back({bomb.name, completion_with({{"grammar", bomb.text}})});
  for (const Bomb& bomb : schema_bombs())
    out.push_back({bomb.name, completion_with({{"response_format", schema_format(bomb.text)}})});
  out.push_back(chat_bomb("a schema's maximum in a chat",
                          {{"response_format", schema_format(schema_bombs().front().text)}}));
  return out;
}

/// Bombs in other parts of a request than the grammar: too much of something, or of another type than the
/// API wants.
std::vector<BombRequest> other_bombs() {
  json tools = json::array();
  const json deep =
      json::parse(R"({"type":"object","properties":{"a":{"type":"object","properties":{"a":{}}}}})");
  for (int i = 0; i < 5000; ++i)
    tools.push_back(
        {{"type", "function"}, {"function", {{"name", "f" + std::to_string(i)}, {"parameters", deep}}}});
  const json tool = {{"type", "function"}, {"function", {{"name", "f"}}}};
  json described = tool;
  described["function"]["description"] = {{"a", 1}};
  const auto call = [](const std::string& arguments) {
    return json{{"messages",
                 {{{"role", "assistant"},
                   {"content", "x"},
                   {"tool_calls", {{{"id", "a"}, {"function", {{"name", "f"}, {"arguments", arguments}}}}}}},
                  {{"role", "tool"}, {"tool_call_id", "a"}, {"content", "y"}}}}};
  };
  const std::string long_text = repeated("word ", 600'000);
  const std::string control_tokens = repeated("<s></s>", 100'000);
  return {
      chat_bomb("many tools", {{"tools", tools}}),
      chat_bomb("a choice of a tool that is a list",
                {{"tools", {tool}}, {"tool_choice", {{"function", {1}}}}}),
      chat_bomb("a description that is an object", {{"tools", {described}}}),
      chat_bomb("a name that is an object",
                {{"messages", {{{"role", "user"}, {"content", "x"}, {"name", {{"a", 1}}}}}}}),
      chat_bomb("thoughts that are an object",
                {{"messages", {{{"role", "user"}, {"content", "x"}, {"reasoning_content", {{"a", 1}}}}}}}),
      chat_bomb("arguments of many levels", call(std::string(100'000, '[') + std::string(100'000, ']'))),
      chat_bomb("a long message", {{"messages", {{{"role", "user"}, {"content", long_text}}}}}),
      prompt_bomb("a long prompt", {{"prompt", long_text}}),
      prompt_bomb("a prompt without a blank", {{"prompt", std::string(3'000'000, 'a')}}),
      prompt_bomb("a prompt of control tokens", {{"prompt", control_tokens}}),
      prompt_bomb("a long text in logit_bias", {{"logit_bias", {{long_text, 1}}}}),
      {"a long text for its tokens", {{"content", long_text}}, "/tokenize"},
      {"control tokens for their tokens", {{"content", control_tokens}}, "/tokenize"},
  };
}

constexpr const char* kSmall = kSanitized ? "1GiB" : "128MiB";

class Untrusted : public NeedsStories {};

/// Expects status 400 with one line of our own words, and that the server goes on.
void expect_refused_alone(const ServedProgram& server, const OtherClient& other, const BombRequest& bomb) {
  SCOPED_TRACE(bomb.name);
  const int before = other.pieces();
  const auto began = std::chrono::steady_clock::now();
  const auto got = server.client().Post(bomb.path, bomb.body.dump(), kJson);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  ASSERT_TRUE(got) << "the server ended: " << server.said();
  EXPECT_EQ(got->status, 400) << got->body;
  EXPECT_EQ(got->body.find('\x1b'), std::string::npos);
  const std::string message = json::parse(got->body)["error"]["message"];
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_EQ(message.find("json.exception"), std::string::npos) << message;
  std::printf("[          ] %5.2f s, %3d pieces for the other: %s: %s\n", took.count(),
              other.pieces() - before, bomb.name.c_str(), message.substr(0, 120).c_str());
  const auto health = server.client().Get("/health");
  ASSERT_TRUE(health);
  EXPECT_EQ(health->status, 200);
}

/// Sends each bomb, one after the other, to a small server that another client uses, too.
void expect_all_refused_alone(const std::vector<BombRequest>& bombs) {
  constexpr Bytes kBudget = kMiB * 128;
  ServedProgram server({"--ram", kSmall, "--max-num-seqs", "4"});
  {
    const OtherClient other(server);
    for (const BombRequest& bomb : bombs) ASSERT_NO_FATAL_FAILURE(expect_refused_alone(server, other, bomb));
    EXPECT_GT(other.pieces(), 0);
    EXPECT_EQ(other.failures(), 0);
    if (!kSanitized) {
      EXPECT_LE(server.high_water_mark(), kBudget);
    }
  }
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.said();
}

TEST_F(Untrusted, GrammarsAndSchemasEndAloneInAServer) { expect_all_refused_alone(bomb_requests()); }

TEST_F(Untrusted, RequestsThatAreTooMuchEndAloneInAServer) { expect_all_refused_alone(other_bombs()); }

TEST_F(Untrusted, GrammarsAndSchemasThatAreOnlyLargeWork) {
  const ServedProgram server({"--ram", kAmpleRam});
  std::string values;
  for (int i = 0; i < 5000; ++i)
    values += (i > 0 ? ",\"value number " : "\"value number ") + std::to_string(i) + "\"";
  const json enumeration = json::parse(R"({"type":"string","enum":[)" + values + "]}");
  const auto format = [](const json& schema) {
    return json{{"type", "json_schema"}, {"json_schema", {{"schema", schema}}}};
  };
  const auto ask = [&](const json& more) {
    json body = {
        {"messages", {{{"role", "user"}, {"content", "x"}}}}, {"max_tokens", 40}, {"temperature", 0}};
    body.update(more);
    const auto began = std::chrono::steady_clock::now();
    const json answer = parsed(server.client().Post("/v1/chat/completions", body.dump(), kJson));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    const std::string text =
        answer.is_null() ? "" : answer["choices"][0]["message"]["content"].get<std::string>();
    std::printf("[          ] %.2f s: %s\n", took.count(), text.c_str());
    return text;
  };
  EXPECT_TRUE(ask({{"response_format", format(enumeration)}}).starts_with("\"value number "));
  EXPECT_TRUE(ask({{"response_format", format(json::parse(object_of(2000)))}}).starts_with("{"));
  std::string words = "root ::= word (\" \" word)*\nword ::= ";
  for (int i = 0; i < 9000; ++i) words += (i > 0 ? " | \"w" : "\"w") + std::to_string(i) + "\"";
  ASSERT_GT(words.size(), 80'000U);
  EXPECT_TRUE(ask({{"grammar", words}}).starts_with("w"));
}

TEST_F(Untrusted, NumbersOutOfRangeFailAlone) {
  const ServedProgram server({"--ram", kAmpleRam});
  const auto got = server.client().Post("/v1/completions", R"({"prompt":"x","temperature": 1e400})", kJson);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 400);
  EXPECT_NE(got->body.find("out of range"), std::string::npos) << got->body;
  EXPECT_EQ(server.client().Get("/health")->status, 200);
}

/// Tests of `run` with templates and grammars: each ends with one line and exit code 1.
class UntrustedRun : public Untrusted {
 public:
  static constexpr const char* kRam = kSanitized ? "1GiB" : "160MiB";

 protected:
  ProgramRun run(const std::vector<std::string>& more) {
    std::vector<std::string> all{
        "run", "-m", stories15m().string(), "-p", "x", "-n", "4", "-t", "1", "--ram", kRam, "--temp", "0"};
    all.insert(all.end(), more.begin(), more.end());
    return run_brimful(all);
  }
  void expect_refused(const ProgramRun& run) {
    EXPECT_EQ(run.exit_code, 1) << run.err;
    EXPECT_EQ(std::ranges::count(run.err, '\n'), 1) << run.err;
    EXPECT_EQ(run.err.find('\x1b'), std::string::npos);
    std::printf("[          ] %s", run.err.c_str());
  }
  TemporaryDirectory directory_;
};

TEST_F(UntrustedRun, TemplatesThatBreakTheirEngineAreRefusedInOneLine) {
  const std::pair<const char*, std::string> templates[] = {
      {"a macro that calls itself", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}"},
      {"parentheses", "{{ " + std::string(50'000, '(') + "1" + std::string(50'000, ')') + " }}"},
      {"blocks", repeated("{% if true %}", 20'000) + "x" + repeated("{% endif %}", 20'000)},
      {"a long sum", "{{ 1" + repeated(" + 1", 30'000) + " }}"},
      {"a range", "{% for i in range(1000000000) %}a{% endfor %}"},
      {"a repeated string", "{{ 'a' * 10000000000 }}"},
      {"an empty string, repeated", "{{ ('a' * 0) * 1000000000000000 }}"},
      {"doubling",
       "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ "
       "ns.s }}"},
      {"a list that holds itself", "{% set a = [] %}{% set _ = a.append(a) %}{{ a }}"},
      {"an error with an escape", "{{ raise_exception('\x1b[31m no') }}{{"},
  };
  for (const auto& [name, text] : templates) {
    SCOPED_TRACE(name);
    const auto file = directory_.path() / "template.jinja";
    std::ofstream(file) << text;
    expect_refused(run({"--chat-template-file", file.string()}));
  }
}

/// When the budget holds the model, its memory map is shown before the first token is chosen. So the error
/// is one line after it.
void expect_one_error(const ProgramRun& ran) {
  EXPECT_EQ(ran.exit_code, 1) << ran.err;
  const std::string::size_type at = ran.err.find("brimful: ");
  ASSERT_NE(at, std::string::npos) << ran.err;
  EXPECT_EQ(ran.err.find('\n', at), ran.err.size() - 1) << "one line, and the last one: " << ran.err;
  EXPECT_EQ(ran.err.find('\x1b'), std::string::npos);
  EXPECT_LT(ran.processor_time, std::chrono::seconds(5));
  if (!kSanitized) {
    EXPECT_LE(ran.peak, *parse_bytes(UntrustedRun::kRam));
  }
  std::printf("[          ] %.2f s of the processor, %s: %s", ran.processor_time.count(),
              format_bytes(ran.peak).c_str(), ran.err.substr(at, 150).c_str());
}

TEST_F(UntrustedRun, GrammarsAndSchemasEndInOneLine) {
  constexpr std::size_t kLongestArgument = 128 << 10;  // The kernel accepts no longer argument.
  for (const Bomb& bomb : grammar_bombs()) {
    if (bomb.text.size() > kLongestArgument) continue;
    SCOPED_TRACE(bomb.name);
    expect_one_error(run({"--raw", "-n", "30", "--grammar", bomb.text}));
  }
  for (const Bomb& bomb : schema_bombs()) {
    SCOPED_TRACE(bomb.name);
    expect_one_error(run({"--raw", "-n", "30", "--json-schema", bomb.text}));
  }
  expect_one_error(run({"--raw", "--json-schema", R"({"minimum": 1e400})"}));
}

/// Requests that are wrong by themselves are reported before anything is computed. Errors that only the work
/// shows fail alone.
TEST_F(UntrustedRun, InABatchEachIsNamedOrFailsAlone) {
  const auto input = directory_.path() / "in.jsonl";
  const auto output = directory_.path() / "out.jsonl";
  const auto errors = directory_.path() / "out.errors.jsonl";
  const auto line = [](const std::string& id, const json& body) {
    const char* const url = body.contains("messages") ? "/v1/chat/completions" : "/v1/completions";
    return json{{"custom_id", id}, {"method", "POST"}, {"url", url}, {"body", body}}.dump() + "\n";
  };
  int alone = 0;
  const std::vector<BombRequest> bombs = bomb_requests();
  ASSERT_GE(bombs.size(), 20U);
  for (const BombRequest& bomb : bombs) {
    SCOPED_TRACE(bomb.name);
    write_file(input, line("good", completion_with({{"max_tokens", 4}})) + line("bomb", bomb.body));
    const ProgramRun ran = run_brimful({"batch", "-m", stories15m().string(), "-i", input.string(), "-o",
                                        output.string(), "--ram", kRam, "-t", "1"});
    EXPECT_LT(ran.processor_time, std::chrono::seconds(5));
    if (!kSanitized) {
      EXPECT_LE(ran.peak, *parse_bytes(kRam));
    }
    std::string why = ran.err;
    if (ran.exit_code == 0) {
      ++alone;
      EXPECT_EQ(outcomes_of(content_of(output)).count("good"), 1U);
      const json failed = outcomes_of(content_of(errors)).at("bomb").at("response");
      EXPECT_EQ(failed.at("status_code"), 400);
      why = failed.at("body").at("error").at("message").get<std::string>() + "\n";
    } else {
      tests::expect_refused(ran, "in.jsonl: line 2: body.");
    }
    EXPECT_EQ(std::ranges::count(why, '\n'), 1) << why;
    std::printf("[          ] %.2f s of the processor, %s: %s", ran.processor_time.count(),
                format_bytes(ran.peak).c_str(), why.substr(0, 150).c_str());
    for (const auto& file : {output, errors}) std::filesystem::remove(file);
  }
  EXPECT_GT(alone, 0);
}

}  // namespace
}  // namespace brimful::tests
