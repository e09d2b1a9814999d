// `brimful run` as people and programs use it.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "program_run.h"
#include "sanitized.h"
#include "synth/synth.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr const char* kTemplate =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

class RunProgram : public testing::Test {
 protected:
  std::string chat_model(const std::string& chat_template = kTemplate) {
    const auto design =
        synth::design_synth({.like = "llama-tiny", .type = "Q4_0", .chat_template = chat_template});
    if (!design) return {};
    const auto written = synth::write_synth(*design, directory_.path() / "chat.gguf", true, [](Bytes) {});
    return written ? written->front().string() : std::string();
  }
  [[nodiscard]] std::string stats_file() const { return (directory_.path() / "stats.json").string(); }
  [[nodiscard]] nlohmann::json stats() const {
    std::ifstream in(stats_file());
    return nlohmann::json::parse(in, nullptr, false);
  }
  std::vector<std::string> command(std::vector<std::string> more) const {
    std::vector<std::string> all{"run", "--temp", "0", "-t", "2", "--stats", stats_file()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  TemporaryDirectory directory_;
};

TEST_F(RunProgram, WritesPlainLlamaCppsTokens) {
  if (kSanitized) GTEST_SKIP() << "no small budget holds a sanitizer";
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  constexpr int kTokens = 40;
  const ProgramRun run = run_brimful(command({"-m", path, "--raw", "-p", "Once upon a time", "-n",
                                              std::to_string(kTokens), "-c", "256", "--ram", "48MiB"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_GT(stats()["weights_bytes"]["streamed_per_pass"], 0);

  const PlainModel plain(path, {.context = 256});
  ASSERT_NE(plain.context(), nullptr);
  std::vector<llama_token> prompt(16);
  const std::string text = "Once upon a time";
  prompt.resize(static_cast<std::size_t>(
      llama_tokenize(llama_model_get_vocab(llama_get_model(plain.context())), text.data(),
                     static_cast<int>(text.size()), prompt.data(), 16, true, true)));
  EXPECT_EQ(stats()["token_ids"], nlohmann::json(trace(plain.context(), prompt, kTokens - 1).tokens));
}

TEST_F(RunProgram, TracesPassesSegmentsAndReads) {
  if (kSanitized) GTEST_SKIP() << "no small budget holds a sanitizer";
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const std::string trace_file = (directory_.path() / "trace.json").string();
  const ProgramRun run = run_brimful(command(
      {"-m", path, "--raw", "-p", "Once", "-n", "5", "-c", "256", "--ram", "48MiB", "--trace", trace_file}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  std::ifstream in(trace_file);
  const auto events = nlohmann::json::parse(in, nullptr, false);
  ASSERT_TRUE(events.is_array());

  std::map<std::uint64_t, std::string> lanes;
  std::map<std::string, std::pair<int, std::uint64_t>> seen;  // The spans and bytes of each lane.
  for (const auto& event : events) {
    if (event["name"] == "thread_name") lanes[event["tid"]] = event["args"]["name"];
    if (event["ph"] != "X") continue;
    EXPECT_GE(event["dur"], 0);
    const std::string lane = lanes.at(event["tid"]);
    auto& [spans, bytes] = seen[lane.starts_with("disk read") ? "reads" : lane];
    ++spans;
    if (event.contains("args")) bytes += event["args"].value("bytes", std::uint64_t{0});
  }
  EXPECT_EQ(seen["passes"].first, stats()["passes"]["count"]);
  EXPECT_GT(seen["compute: segments"].first, seen["passes"].first);
  const auto streamed = stats()["weights_bytes"]["streamed_per_pass"].get<std::uint64_t>();
  EXPECT_GE(seen["reads"].second, streamed * stats()["passes"]["count"].get<std::uint64_t>());
}

TEST_F(RunProgram, PutsThePromptInFrontWhenAsked) {
  const std::string model = chat_model();
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"-m", model, "--raw", "-p", "Hello", "-n", "3", "--ram", "1GiB"});
    return run_brimful(command(more)).out;
  };
  EXPECT_EQ(with({"--display-prompt"}), "Hello" + with({}));
}

TEST_F(RunProgram, MakesATurnOfAPromptByTheModelsTemplate) {
  const std::string model = chat_model();
  const auto prompt_tokens = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"-m", model, "-n", "2", "--ram", "1GiB"});
    const ProgramRun run = run_brimful(command(more));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return stats()["prompt"]["tokens"].get<int>();
  };
  const int turn = prompt_tokens({"-p", "Hi"});
  EXPECT_EQ(prompt_tokens({"--raw", "-p", "<user>Hi\n<assistant>"}), turn);
  EXPECT_LT(prompt_tokens({"--raw", "-p", "Hi"}), turn);
  EXPECT_GT(prompt_tokens({"--system", "Be kind", "-p", "Hi"}), turn);
}

TEST_F(RunProgram, SaysThatATemplateCannotBeRead) {
  const ProgramRun run = run_brimful(command({"-m", chat_model("{% for %}"), "-p", "Hi", "-n", "2"}));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.err.find("--raw"), std::string::npos) << run.err;
}

TEST_F(RunProgram, ChatsOnATerminalAndForgetsTheOldestWhenTheContextIsFull) {
  const std::string long_message(400, 'x');  // The vocabulary has little more than bytes.
  const ProgramRun run = run_brimful_on_terminal(
      command({"-m", chat_model(), "-n", "4", "-c", "512", "--ram", "1GiB", "--ignore-eos"}),
      {"Hello", long_message, long_message, std::string(2000, 'y'), "still there?"});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_NE(run.out.find("the oldest turns are forgotten"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("this message alone is longer than the context"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("peak memory"), std::string::npos) << run.out;
  EXPECT_EQ(stats()["decode"]["tokens"], 4 * 4);  // The message that was too long has no answer.
}

TEST_F(RunProgram, EndsOnCtrlCWithItsStatistics) {
  if (kSanitized) GTEST_SKIP() << "no small budget holds a sanitizer";
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const ProgramRun run = run_brimful_and_interrupt(command({"-m", path, "--raw", "-p", "Once", "-n", "1900",
                                                            "-c", "2048", "--ignore-eos", "--ram", "60MiB"}),
                                                   20);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.err.find("(cancelled)"), std::string::npos) << run.err;
  EXPECT_EQ(stats()["stop_reason"], "cancelled");
  EXPECT_GT(stats()["token_ids"].size(), 2U);
  EXPECT_LT(stats()["token_ids"].size(), 1900U);
}

TEST_F(RunProgram, SaysThatItsTextIsLost) {
  const std::string command = "exec " BRIMFUL_PROGRAM " run -m " + chat_model() +
                              " --raw -p a -n 3 --ram 1GiB --ignore-eos >/dev/full 2>" + stats_file();
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 1);
  std::ifstream in(stats_file());
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_NE(text.find("brimful: the text cannot be written to stdout: No space left"), std::string::npos)
      << text;
}

TEST_F(RunProgram, TakesTheLastOfAFlagThatIsGivenTwice) {
  const ProgramRun run = run_brimful(command(
      {"-m", chat_model(), "--raw", "-p", "a", "-n", "9", "-n", "3", "--ram", "1GiB", "--ignore-eos"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(stats()["token_ids"].size(), 3U);
}

TEST_F(RunProgram, TakesValuesThatLookLikeFlags) {
  const std::string model = chat_model();
  for (const std::string prompt : {"-ub", "-ngl is what?", "--", "-1"}) {
    const ProgramRun run = run_brimful(
        command({"-m", model, "--raw", "--display-prompt", "-p", prompt, "-n1", "-ub=64", "--ram", "1GiB"}));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_TRUE(run.out.starts_with(prompt)) << run.out;
  }
}

TEST_F(RunProgram, CountsTheNestingOfAGrammarOutsideItsTexts) {
  const std::string parentheses(600, '(');
  const ProgramRun run =
      run_brimful(command({"-m", chat_model(), "--raw", "-p", "a", "-n", "700", "-c", "1024", "--ram", "1GiB",
                           "--grammar", "root ::= \"" + parentheses + "\\\"(\" [(\\](] # (((\n"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(run.out.starts_with(parentheses + "\"(")) << run.out;
}

TEST_F(RunProgram, FollowsAJsonSchema) {
  const ProgramRun run = run_brimful(command(
      {"-m", chat_model(), "--raw", "-p", "a", "-n", "60", "--ram", "1GiB", "--json-schema",
       R"({"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false})"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = nlohmann::json::parse(run.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << run.out;
  EXPECT_TRUE(json["ok"].is_boolean());
}

TEST_F(RunProgram, ChangesOnlySettingsThatWereNotGiven) {
  if (kSanitized) GTEST_SKIP() << "no small budget holds a sanitizer";
  const std::string model = chat_model();
  const std::string prompt(300, 'z');
  const auto run = [&](std::vector<std::string> more) {
    more.insert(more.end(),
                // With one thread there is no note on threads.
                {"-m", model, "--raw", "-p", prompt, "-n", "2", "-t", "1"});
    return run_brimful(command(more));
  };
  const ProgramRun whole = run({"--ram", "128MiB"});  // A part of the reserve grows with the budget.
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_EQ(whole.err.find("note:"), std::string::npos) << whole.err;
  const auto memory = stats()["memory_bytes"];
  const std::uint64_t all_but_weights = memory["runtime"].get<std::uint64_t>() +
                                        memory["kv_cache"].get<std::uint64_t>() +
                                        memory["compute"].get<std::uint64_t>();
  const ProgramRun adapted = run({"--ram", std::to_string(all_but_weights)});
  ASSERT_EQ(adapted.exit_code, 0) << adapted.err;
  EXPECT_NE(adapted.err.find("note: -ub "), std::string::npos) << adapted.err;
  const std::string enough_for_less = std::to_string(all_but_weights + 8 * kMiB.value);
  const ProgramRun fixed = run({"--ram", enough_for_less, "-ub", "2048", "-c", "4096"});
  EXPECT_EQ(fixed.exit_code, 3) << fixed.err;
  std::smatch match;
  ASSERT_TRUE(std::regex_search(fixed.err, match, std::regex(", or -ub ([0-9]+)"))) << fixed.err;
  const ProgramRun less = run({"--ram", enough_for_less, "-ub", match[1], "-c", "4096"});
  EXPECT_EQ(less.exit_code, 0) << less.err;
}

}  // namespace
}  // namespace brimful::tests
