// Grammars, schemas, templates and numbers that break a library, or would take all memory and time: each ends
// with one error, and nobody else notices. See docs/design-untrusted.md.

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "program_run.h"
#include "sanitized.h"
#include "served_program.h"
#include "temporary_directory.h"

namespace strata::tests {
namespace {

using nlohmann::json;

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

/// Rules `r0` to `rN`, each as `body` has it with the next one's name for `$`; the last one is `last`.
std::string chain(int rules, const std::string& body, const std::string& last) {
  std::string out = "root ::= r0\n";
  for (int i = 0; i < rules; ++i) {
    std::string rule = i + 1 == rules ? last : body;
    const std::string next = "r" + std::to_string(i + 1);
    for (std::size_t at = rule.find('$'); at != std::string::npos; at = rule.find('$', at + next.size()))
      rule.replace(at, 1, next);
    out += "r" + std::to_string(i) + " ::= " + rule + "\n";
  }
  return out;
}

std::string object_of(int properties) {
  std::string out = R"({"type":"object","properties":{)";
  for (int i = 0; i < properties; ++i)
    out += (i > 0 ? ",\"field_" : "\"field_") + std::to_string(i) + R"(":{"type":"integer"})";
  return out + "}}";
}

struct Bomb {
  std::string name;
  json body;
  std::string path = "/v1/completions";
};

Bomb grammar_bomb(const std::string& name, const std::string& grammar) {
  return {name,
          {{"prompt", "x"}, {"max_tokens", 30}, {"temperature", 0}, {"grammar", grammar}},
          "/v1/completions"};
}
Bomb schema_bomb(const std::string& name, const std::string& schema) {
  return {
      name,
      {{"prompt", "x"},
       {"max_tokens", 30},
       {"temperature", 0},
       {"response_format", {{"type", "json_schema"}, {"json_schema", {{"schema", json::parse(schema)}}}}}},
      "/v1/completions"};
}
Bomb chat_bomb(const std::string& name, json more) {
  json body = {{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"max_tokens", 30}};
  body.update(more);
  return {name, body, "/v1/chat/completions"};
}
Bomb prompt_bomb(const std::string& name, json more) {
  json body = {{"prompt", "x"}, {"max_tokens", 30}};
  body.update(more);
  return {name, body, "/v1/completions"};
}

std::vector<Bomb> bombs() {
  const std::string string_of = R"({"type":"string","pattern":")";
  std::string nested = R"({"type":"integer"})";
  for (int i = 0; i < 120; ++i) nested = R"({"type":"array","items":)" + nested + "}";
  return {
      grammar_bomb("maximum below minimum", R"(root ::= "a"{3,1})"),
      grammar_bomb("maximum below minimum, on another line", "root ::= (\"a\"{3\n,1})"),
      grammar_bomb("maximum below minimum, behind a comment", "root ::= (\"a\"{ # {\n3,1})"),
      grammar_bomb("maximum below minimum, behind the end of a comment", "# x\rroot ::= \"a\"{3,1}"),
      grammar_bomb("rules that may be empty, twice each", chain(20, "$ | $ $", R"("x" | "")")),
      grammar_bomb("rules that begin with the next, twice each", chain(60, "$ | $", R"("x")")),
      grammar_bomb("optional characters at the beginning", "root ::= " + repeated("[a-z ]? ", 400)),
      grammar_bomb("optional characters later", R"(root ::= [^x]? )" + repeated("[^x]? ", 400)),
      grammar_bomb("left recursion", R"(root ::= root "a" | "b")"),
      grammar_bomb("left recursion through an empty rule",
                   "root ::= a root \"x\" | \"y\"\na ::= b\nb ::= \"z\" | \"\""),
      grammar_bomb("another library's grammar", "%llguidance {}\nstart: \"a\""),
      grammar_bomb("nested groups",
                   "root ::= " + std::string(100'000, '(') + "\"a\"" + std::string(100'000, ')')),
      grammar_bomb("a long chain of rules", chain(15'000, "$", R"("x")")),
      grammar_bomb("a rule that is missing", "root ::= nobody"),
      grammar_bomb("no root", R"(other ::= "a")"),
      grammar_bomb("a text that is no grammar", "\x1b[31m ::= ]]]"),
      grammar_bomb("a string without an end", "root ::= \"abc"),
      grammar_bomb("a character that no token has", R"(root ::= "\x00")"),
      grammar_bomb("a repetition beyond all numbers", R"(root ::= "a"{99999999999999999999999})"),
      grammar_bomb("repetitions of repetitions", R"(root ::= ((("a"{1000}){1000}){1000}){1000})"),
      schema_bomb("items", R"({"type":"array","minItems":5,"maxItems":2,"items":{"type":"string"}})"),
      schema_bomb("length", R"({"type":"string","minLength":9,"maxLength":2})"),
      schema_bomb("numbers", R"({"type":"integer","minimum":9,"maximum":2})"),
      schema_bomb("a pattern's repetition", string_of + R"(^a{3,1}$"})"),
      schema_bomb("a pattern of a property that has a keyword's name",
                  R"({"type":"object","properties":{"enum":)" + string_of + R"(^a{3,1}$"}}})"),
      schema_bomb("a pattern of anything", string_of + "^" + repeated(".*", 100) + R"($"})"),
      schema_bomb("a pattern of optional things", string_of + "^" + repeated("[a-z]?", 300) + R"($"})"),
      schema_bomb("a reference to itself", R"({"$ref":"#"})"),
      schema_bomb("references in a circle",
                  R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}})"),
      chat_bomb("a schema's maximum in a chat",
                {{"response_format",
                  {{"type", "json_schema"},
                   {"json_schema", {{"schema", {{"type", "array"}, {"minItems", 7}, {"maxItems", 3}}}}}}}}),
  };
}

/// Of requests that are no grammar: too much of something, or of another type than the API wants.
std::vector<Bomb> other_bombs() {
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

/// A client that asks again and again, and reads what is written.
class OtherClient {
 public:
  explicit OtherClient(const ServedProgram& server) : thread_([this, &server] { ask(server); }) {}
  ~OtherClient() {
    stopping_ = true;
    thread_.join();
  }
  [[nodiscard]] int pieces() const { return pieces_; }
  [[nodiscard]] int failures() const { return failures_; }

 private:
  void ask(const ServedProgram& server) {
    const auto body = completion(100, true).dump();
    while (!stopping_) {
      httplib::Request request;
      request.method = "POST";
      request.path = "/v1/completions";
      request.body = body;
      request.headers = {{"Content-Type", kJson}};
      request.content_receiver = [&](const char*, std::size_t, std::uint64_t, std::uint64_t) {
        ++pieces_;
        return !stopping_;
      };
      const auto got = server.client().send(request);
      if (!stopping_ && (!got || got->status != 200)) ++failures_;
    }
  }

  std::atomic<bool> stopping_ = false;
  std::atomic<int> pieces_ = 0;
  std::atomic<int> failures_ = 0;
  std::thread thread_;
};

class Untrusted : public NeedsStories {};

/// 400, in one line of our own words, and the server goes on.
void expect_refused_alone(const ServedProgram& server, const OtherClient& other, const Bomb& bomb) {
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

TEST_F(Untrusted, GrammarsAndSchemasEndAloneInAServer) {
  constexpr Bytes kBudget = kMiB * 128;
  ServedProgram server({"--ram", "128MiB", "--max-num-seqs", "4"});
  {
    const OtherClient other(server);
    for (const Bomb& bomb : bombs()) ASSERT_NO_FATAL_FAILURE(expect_refused_alone(server, other, bomb));
    EXPECT_GT(other.pieces(), 0);
    EXPECT_EQ(other.failures(), 0);
    if (!kSanitized) {
      EXPECT_LE(server.high_water_mark(), kBudget);
    }
  }
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.said();
}

TEST_F(Untrusted, RequestsThatAreTooMuchEndAloneInAServer) {
  constexpr Bytes kBudget = kMiB * 128;
  ServedProgram server({"--ram", "128MiB", "--max-num-seqs", "4"});
  {
    const OtherClient other(server);
    for (const Bomb& bomb : other_bombs()) ASSERT_NO_FATAL_FAILURE(expect_refused_alone(server, other, bomb));
    EXPECT_GT(other.pieces(), 0);
    EXPECT_EQ(other.failures(), 0);
    if (!kSanitized) {
      EXPECT_LE(server.high_water_mark(), kBudget);
    }
  }
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.said();
}

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

/// Of `run`, for templates and grammars: one line, and exit code 1.
class UntrustedRun : public Untrusted {
 protected:
  ProgramRun run(const std::vector<std::string>& more) {
    std::vector<std::string> all{
        "run", "-m", stories15m().string(), "-p", "x", "-n", "4", "-t", "1", "--ram", kRam, "--temp", "0"};
    all.insert(all.end(), more.begin(), more.end());
    return run_strata(all);
  }
  void expect_refused(const ProgramRun& run) {
    EXPECT_EQ(run.exit_code, 1) << run.err;
    EXPECT_EQ(std::ranges::count(run.err, '\n'), 1) << run.err;
    EXPECT_EQ(run.err.find('\x1b'), std::string::npos);
    std::printf("[          ] %s", run.err.c_str());
  }
  static constexpr const char* kRam = "160MiB";
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

TEST_F(UntrustedRun, GrammarsAreRefusedInOneLine) {
  expect_refused(run({"--raw", "--grammar", R"(root ::= "a"{3,1})"}));
  expect_refused(run({"--raw", "--grammar", chain(20, "$ | $ $", R"("x" | "")")}));
  expect_refused(run({"--raw", "--json-schema", R"({"minimum": 1e400})"}));
  expect_refused(run({"--raw", "--json-schema", R"({"type":"array","minItems":5,"maxItems":2})"}));
}

TEST_F(UntrustedRun, BatchesFailLineByLine) {
  const auto input = directory_.path() / "in.jsonl";
  const std::string output = directory_.path() / "out.jsonl";
  const auto line = [](const std::string& id, const json& more) {
    json body = {{"prompt", "x"}, {"max_tokens", 4}};
    body.update(more);
    return json{{"custom_id", id}, {"method", "POST"}, {"url", "/v1/completions"}, {"body", body}}.dump() +
           "\n";
  };
  std::ofstream(input) << line("good", json::object())
                       << line("slow", {{"grammar", "root ::= [^x]? " + repeated("[^x]? ", 400)}})
                       << line("endless", {{"grammar", chain(20, "$ | $ $", R"("x" | "")")}});
  const std::vector<std::string> arguments{
      "batch", "-m", stories15m().string(), "-i", input.string(), "-o", output, "--ram", kAmpleRam,
      "-t",    "1"};
  const ProgramRun ran = run_strata(arguments);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  const auto lines_of = [](const std::filesystem::path& file) {
    std::ifstream in(file);
    std::string out;
    for (std::string one; std::getline(in, one);)
      out += json::parse(one).at("custom_id").get<std::string>() + " ";
    return out;
  };
  EXPECT_EQ(lines_of(output), "good ");
  EXPECT_EQ(lines_of(directory_.path() / "out.errors.jsonl"), "slow endless ");
}

}  // namespace
}  // namespace strata::tests
