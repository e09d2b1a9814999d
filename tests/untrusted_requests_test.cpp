// Texts that break a library only when a request arrives: chat templates that fail for some conversations
// only, and several such requests at once. See docs/design-untrusted.md.

#include <gmock/gmock.h>
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
using Seconds = std::chrono::duration<double>;

constexpr const char* kRam = kSanitized ? "1GiB" : "128MiB";

/// Asks /health again and again.
class HealthWatch {
 public:
  explicit HealthWatch(const ServedProgram& server)
      : thread_([this, &server] {
          do {
            const auto began = std::chrono::steady_clock::now();
            const auto got = server.client().Get("/health");
            slowest_ = std::max(slowest_, Seconds(std::chrono::steady_clock::now() - began));
            failures_ += got && got->status == 200 ? 0 : 1;
            ++asked_;
          } while (!stopping_);
        }) {}
  ~HealthWatch() {
    if (thread_.joinable()) stop();
  }
  void stop() {
    stopping_ = true;
    thread_.join();
  }
  /// Requires: stop() was called.
  void expect_quick_answers() const {
    EXPECT_EQ(failures_, 0);
    EXPECT_LT(slowest_, Seconds(1)) << "of " << asked_;
  }

 private:
  std::atomic<bool> stopping_ = false;
  Seconds slowest_{0};
  int failures_ = 0;
  int asked_ = 0;
  std::thread thread_;
};

/// A chat template that breaks the library when the last message is `deep`, or when a tool has that name.
struct TemplateBomb {
  const char* name;
  const char* part;      ///< A part of the template, in the middle of a condition.
  bool by_tool = false;  ///< Whether the tool's name decides, and not the message.
};

constexpr TemplateBomb kTemplateBombs[] = {
    {"a macro that calls itself", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}"},
    {"a range, for a tool", "{% for i in range(1000000000) %}a{% endfor %}", true},
    {"a repeated string", "{{ 'a' * 10000000000 }}"},
    {"an empty string, repeated", "{{ ('a' * 0) * 1000000000000000 }}"},
    {"loops in loops", "{% for i in range(9000) %}{% for j in range(9000) %}{% endfor %}{% endfor %}"},
    {"doubling",
     "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}"},
    {"a list that holds itself", "{% set a = [] %}{% set _ = a.append(a) %}{{ a }}"},
    {"an error with an escape", "{{ raise_exception('\x1b[31m no') }}"},
};

std::string template_of(const TemplateBomb& bomb) {
  const std::string condition = bomb.by_tool ? "tools and tools[0].function.name == 'deep'"
                                             : "messages and messages[-1].content == 'deep'";
  return "{% if " + condition + " %}" + bomb.part +
         "{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
}

json chat(const TemplateBomb* bomb) {
  const bool breaks = bomb != nullptr;
  json out = {{"messages", {{{"role", "user"}, {"content", breaks && !bomb->by_tool ? "deep" : "shallow"}}}},
              {"max_tokens", 3}};
  if (breaks && bomb->by_tool)
    out["tools"] = {
        {{"type", "function"}, {"function", {{"name", "deep"}, {"parameters", {{"type", "object"}}}}}}};
  return out;
}

class UntrustedRequests : public NeedsStories {
 protected:
  std::string template_file(const TemplateBomb& bomb) {
    const auto file = directory_.path() / "template.jinja";
    std::ofstream(file) << template_of(bomb);
    return file.string();
  }
  TemporaryDirectory directory_;
};

TEST_F(UntrustedRequests, ATemplateThatBreaksAtARequestEndsThatRequestAlone) {
  for (const TemplateBomb& bomb : kTemplateBombs) {
    SCOPED_TRACE(bomb.name);
    ServedProgram server({"--ram", kRam, "--max-num-seqs", "4", "--chat-template-file", template_file(bomb)});
    {
      const OtherClient other(server);
      const auto ask = [&](const TemplateBomb* with) {
        return server.client().Post("/v1/chat/completions", chat(with).dump(), kJson);
      };
      ASSERT_FALSE(parsed(ask(nullptr)).is_null()) << "it works for most";
      HealthWatch health(server);
      for (int time = 0; time < 2; ++time) {
        const int before = other.pieces();
        const auto began = std::chrono::steady_clock::now();
        const auto got = ask(&bomb);
        const Seconds took = std::chrono::steady_clock::now() - began;
        ASSERT_TRUE(got) << "the server ended: " << server.said();
        EXPECT_EQ(got->status, 400) << got->body;
        EXPECT_LT(took, Seconds(5));
        const std::string why = json::parse(got->body).at("error").at("message");
        EXPECT_THAT(why, testing::Not(testing::AnyOf(testing::HasSubstr("\n"), testing::HasSubstr("\x1b"))));
        std::printf("[          ] %5.2f s, %3d pieces for the other: %s: %s\n", took.count(),
                    other.pieces() - before, bomb.name, why.c_str());
      }
      health.stop();
      health.expect_quick_answers();
      EXPECT_FALSE(parsed(ask(nullptr)).is_null()) << "it still works for most";
      EXPECT_EQ(other.failures(), 0);
      EXPECT_GT(other.pieces(), 0);
    }
    if (!kSanitized) {
      EXPECT_LE(server.high_water_mark(), *parse_bytes(kRam));
    }
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(), 0) << server.said();
  }
}

TEST_F(UntrustedRequests, ATemplateThatBreaksAtALineOfABatchFailsThatLineAlone) {
  const auto input = directory_.path() / "in.jsonl";
  const auto output = directory_.path() / "out.jsonl";
  const auto errors = directory_.path() / "out.errors.jsonl";
  for (const TemplateBomb& bomb : kTemplateBombs) {
    SCOPED_TRACE(bomb.name);
    std::string lines;
    for (const char* const id : {"before", "deep", "after"}) {
      const json body = chat(id == std::string("deep") ? &bomb : nullptr);
      lines += json{{"custom_id", id}, {"method", "POST"}, {"url", "/v1/chat/completions"}, {"body", body}}
                   .dump() +
               "\n";
    }
    write_file(input, lines);
    const ProgramRun ran =
        run_brimful({"batch", "-m", stories15m().string(), "-i", input.string(), "-o", output.string(), "-t",
                     "1", "--ram", kRam, "--chat-template-file", template_file(bomb)});
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    if (!kSanitized) {
      EXPECT_LE(ran.peak, *parse_bytes(kRam));
    }
    const auto answers = outcomes_of(content_of(output));
    EXPECT_TRUE(answers.contains("before") && answers.contains("after"));
    const auto failed = outcomes_of(content_of(errors));
    ASSERT_TRUE(failed.size() == 1 && failed.contains("deep"));
    EXPECT_EQ(failed.at("deep").at("response").at("status_code"), 400);
    for (const auto& file : {output, errors}) std::filesystem::remove(file);
  }
}

/// Texts that take all the time that they get. Each one is different, because a server remembers those that
/// it has tried.
std::vector<json> slow_requests(int count) {
  std::vector<json> out;
  for (int i = 0; i < count; ++i) {
    const std::string own = std::to_string(i);
    json body = {{"prompt", "x"}, {"max_tokens", 5}, {"temperature", 0}};
    switch (i % 3) {
      case 0: body["grammar"] = "root ::= [^x]? " + repeated("[^x]? ", 400) + "\"" + own + "\""; break;
      case 1: body["grammar"] = "root ::= " + repeated("[a-z ]? ", 400) + "\"" + own + "\""; break;
      default: body["json_schema"] = {{"type", "string"}, {"pattern", "^" + repeated(".*", 100) + own + "$"}};
    }
    out.push_back(std::move(body));
  }
  return out;
}

TEST_F(UntrustedRequests, EightAtOnceAreAllAnsweredSoonAndHealthMeanwhile) {
  constexpr int kClients = 8;
  ServedProgram server({"--ram", kRam, "--max-num-seqs", "4"});
  {
    const OtherClient other(server);
    const std::vector<json> requests = slow_requests(3 + kClients);
    const auto refused = [&](const json& body) {
      const auto began = std::chrono::steady_clock::now();
      const auto got = server.client().Post("/v1/completions", body.dump(), kJson);
      const Seconds took = std::chrono::steady_clock::now() - began;
      EXPECT_TRUE(got && got->status == 400) << (got ? got->body : server.said());
      EXPECT_LT(took, Seconds(5));
      return took;
    };
    HealthWatch health(server);
    for (int i = 0; i < 3; ++i) std::printf("[          ] %.2f s\n", refused(requests[i]).count());
    std::vector<std::thread> clients;
    std::array<Seconds, kClients> took{};
    for (int i = 0; i < kClients; ++i) clients.emplace_back([&, i] { took[i] = refused(requests[3 + i]); });
    for (std::thread& client : clients) client.join();
    std::printf("[          ] the last of %d waited %.2f s\n", kClients, std::ranges::max(took).count());
    health.stop();
    health.expect_quick_answers();
    EXPECT_EQ(other.failures(), 0);
  }
  if (!kSanitized) {
    EXPECT_LE(server.high_water_mark(), *parse_bytes(kRam));
  }
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.said();
}

}  // namespace
}  // namespace brimful::tests
