// With `brimful batch` every request ends exactly once, whatever happens meanwhile.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "base/former_name.h"
#include "interference.h"
#include "program_run.h"
#include "running_program.h"
#include "sanitized.h"
#include "synth_model.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json completion(const std::string& id, const std::string& prompt, int tokens) {
  return {{"custom_id", id},
          {"method", "POST"},
          {"url", "/v1/completions"},
          {"body", {{"model", "any"}, {"prompt", prompt}, {"max_tokens", tokens}, {"temperature", 0}}}};
}

class BatchCommand : public testing::Test {
 protected:
  void SetUp() override {
    if (stories15m().empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  }

  void write(const std::vector<json>& lines) {
    std::ofstream file(input_);
    for (const json& line : lines) file << line.dump() << "\n";
  }
  void write_some(int count, int tokens) {
    std::vector<json> lines;
    for (int i = 0; i < count; ++i)
      lines.push_back(
          completion("request " + std::to_string(i), "Number " + std::to_string(i) + " was", tokens));
    write(lines);
  }

  [[nodiscard]] std::vector<std::string> command(const std::filesystem::path& output) const {
    return {"batch", "-m", stories15m().string(), "-i", input_, "-o", output.string(), "--ram", kAmpleRam,
            "-t",    "1"};
  }
  [[nodiscard]] ProgramRun run(std::chrono::milliseconds limit = kPatience) const {
    return run_brimful(command(output_), nullptr, limit);
  }

  /// Returns the answers by custom_id. Each id may occur once.
  static std::map<std::string, json> answers(const std::filesystem::path& path) {
    std::map<std::string, json> out;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      const json answer = json::parse(line);  // A torn line would throw.
      EXPECT_TRUE(out.emplace(answer.at("custom_id"), answer).second) << "twice: " << line;
    }
    return out;
  }

  const TemporaryDirectory directory_;
  const std::string input_ = directory_.path() / "in.jsonl";
  const std::filesystem::path output_ = directory_.path() / "out.jsonl";
};

TEST_F(BatchCommand, AnswersEachRequestAsOpenAiDoes) {
  const json chat = {
      {"custom_id", "chat"},
      {"url", "/v1/chat/completions"},
      {"body",
       {{"messages",
         {{{"role", "system"}, {"content", "Be short."}}, {{"role", "user"}, {"content", "Hello"}}}},
        {"max_completion_tokens", 5},
        {"logprobs", true},
        {"top_logprobs", 2}}}};
  json stopped = completion("stopped", "Once upon a time", 100);
  stopped["body"]["stop"] = "little";
  json shaped = completion("shaped", "A number:", 20);
  shaped["body"]["grammar"] = "root ::= [0-9] [0-9]";
  write({completion("first", "Once upon a time", 16), chat, stopped, shaped});
  const ProgramRun ran = run();
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const auto got = answers(output_);
  ASSERT_EQ(got.size(), 4U);
  const auto body = [&](const std::string& id) { return got.at(id).at("response").at("body"); };

  EXPECT_EQ(got.at("first").at("response").at("status_code"), 200);
  EXPECT_TRUE(got.at("first").at("error").is_null());
  EXPECT_EQ(body("first").at("object"), "text_completion");
  EXPECT_EQ(body("first").at("usage").at("completion_tokens"), 16);
  EXPECT_EQ(body("first").at("choices").at(0).at("finish_reason"), "length");
  const ProgramRun alone = run_brimful({"run", "-m", stories15m().string(), "-p", "Once upon a time", "--raw",
                                        "-n", "16", "--temp", "0", "--spec-type", "none", "-t", "1"});
  EXPECT_EQ(body("first").at("choices").at(0).at("text"), alone.out.substr(0, alone.out.size() - 1));

  EXPECT_EQ(body("chat").at("object"), "chat.completion");
  EXPECT_EQ(body("chat").at("choices").at(0).at("message").at("role"), "assistant");
  const json logprobs = body("chat").at("choices").at(0).at("logprobs").at("content");
  ASSERT_EQ(logprobs.size(), 5U);
  EXPECT_EQ(logprobs.at(0).at("top_logprobs").size(), 2U);
  EXPECT_LE(logprobs.at(0).at("logprob"), logprobs.at(0).at("top_logprobs").at(0).at("logprob"));

  EXPECT_EQ(body("stopped").at("choices").at(0).at("finish_reason"), "stop");
  EXPECT_THAT(body("stopped").at("choices").at(0).at("text").get<std::string>(),
              testing::Not(HasSubstr("little")));
  EXPECT_THAT(body("shaped").at("choices").at(0).at("text").get<std::string>(),
              testing::MatchesRegex("[0-9][0-9]"));
}

TEST_F(BatchCommand, NothingBeginsBeforeAllLinesAreRight) {
  json hot = completion("b", "x", 5);
  hot["body"]["temperature"] = 9;
  json elsewhere = completion("c", "x", 5);
  elsewhere["url"] = "/v1/images";
  write({completion("a", "x", 5), hot, elsewhere, completion("a", "x", 5)});
  const ProgramRun ran = run();
  expect_refused(ran, "line 2: body.temperature: must be a number from 0 to 2");
  EXPECT_THAT(ran.err, HasSubstr("line 3: url:"));
  EXPECT_THAT(ran.err, HasSubstr("line 4: custom_id: 'a' appears twice"));
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path()))
    EXPECT_EQ(entry.path(), input_) << "and nothing is left behind";
  write({});
  expect_refused(run(), "contains no request");
  std::filesystem::remove(input_);
  expect_refused(run(), "in.jsonl: cannot be read: No such file or directory");
}

TEST_F(BatchCommand, AnInputThatFailsWhileItIsReadIsAnError) {
  std::vector<std::string> arguments = command(output_);
  *std::ranges::find(arguments, input_) = "/proc/self/mem";  // This file can be opened and not read.
  expect_refused(run_brimful(arguments), "/proc/self/mem: Input/output error");
}

TEST_F(BatchCommand, WhatFailsGoesToTheErrors) {
  json refused = completion("refused", "x", 5);
  refused["body"]["grammar"] = "root ::= nothing";
  write({completion("good", "x", 5), refused});
  const ProgramRun ran = run();
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(answers(output_).size(), 1U);
  const auto failed = answers(directory_.path() / "out.errors.jsonl");
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_EQ(failed.at("refused").at("response").at("status_code"), 400);
}

// After the program was killed at any point, the same command goes on. BRIMFUL_TEST_KILLS is the number of
// additional kills, beside the few of each run.
TEST_F(BatchCommand, KilledAtAnyInstantItGoesOnAndAnswersEachOnce) {
  write_some(60, 30);
  const char* const more = std::getenv("BRIMFUL_TEST_KILLS");
  const int kills = more != nullptr ? std::atoi(more) : 8;
  std::mt19937 random(7);
  int killed = 0;
  int rounds = 0;
  for (int finished = 0; killed < kills;) {
    ASSERT_LT(++rounds, kills * 50 + 50);
    const ProgramRun ran = run(std::chrono::milliseconds(20 + random() % 1500));
    if (ran.timed_out) {
      ++killed;
      continue;
    }
    ASSERT_EQ(ran.exit_code, 0) << ran.err;
    ++finished;
    ASSERT_EQ(answers(output_).size(), 60U);
    std::filesystem::remove(output_);
  }
  const bool begun = std::filesystem::exists(output_.string() + ".brimful");
  const ProgramRun last = run();
  ASSERT_EQ(last.exit_code, 0) << last.err;
  if (begun) {
    EXPECT_THAT(last.err, testing::AnyOf(HasSubstr("continuing"), HasSubstr("60 answers")));
  }
  const auto got = answers(output_);
  EXPECT_EQ(got.size(), 60U);
  EXPECT_FALSE(std::filesystem::exists(output_.string() + ".brimful"));
  const auto written = std::filesystem::last_write_time(output_);
  const ProgramRun again = run();
  EXPECT_EQ(again.exit_code, 0) << "what is finished is not done again: " << again.err;
  EXPECT_THAT(again.err, HasSubstr("already complete"));
  EXPECT_EQ(std::filesystem::last_write_time(output_), written);
  write_some(61, 3);
  expect_refused(run(), "exists already");
}

TEST_F(BatchCommand, GoesOnWithWhatItBeganUnderItsFormerName) {
  write_some(60, 30);
  const std::filesystem::path journal = output_.string() + ".brimful";
  std::filesystem::path former = journal;
  former.replace_extension(kFormerName);
  for (int rounds = 0; !std::filesystem::exists(journal); ++rounds) {
    ASSERT_LT(rounds, 100);
    std::filesystem::remove(output_);
    static_cast<void>(run(std::chrono::milliseconds(20 + 20 * rounds)));
  }
  for (const char* const suffix : {"", "-wal", "-shm"}) {
    if (std::filesystem::exists(journal.string() + suffix))
      std::filesystem::rename(journal.string() + suffix, former.string() + suffix);
  }
  const ProgramRun ran = run();
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(answers(output_).size(), 60U);
  for (const char* const suffix : {"", "-wal", "-shm"})
    EXPECT_FALSE(std::filesystem::exists(former.string() + suffix)) << suffix;
}

// Just before a write, sync, rename or removal of the journal, output and errors, the process ends, the call
// fails, or the disk is full; some allocations find no memory. By default some of these places are tested;
// with BRIMFUL_TEST_KILLS all of them, and more allocations.
TEST_F(BatchCommand, InterferedWithAtAnyCallItAnswersEachOnce) {
  if (kSanitized) GTEST_SKIP() << "NOT TESTED what calls that fail do: sanitizers are in their place";
  const int stride = std::getenv("BRIMFUL_TEST_KILLS") != nullptr ? 1 : 9;
  std::vector<json> lines;
  for (int i = 0; i < 3; ++i) lines.push_back(completion("request " + std::to_string(i), "And", 2));
  // It does not fit, so there are errors to write, too.
  lines[2]["body"]["prompt"] = std::string(20'000, 'x');
  write(lines);
  auto arguments = command(output_);
  arguments.insert(arguments.end(), {"-c", "256"});
  const std::filesystem::path errors = directory_.path() / "out.errors.jsonl";
  const std::filesystem::path journal = output_.string() + ".brimful";
  const auto interfered = [&](const std::string& what, int call) {
    const Interference interference(what, call, directory_.path() / "out");
    return run_brimful(arguments);
  };
  const auto clear = [&] {
    for (const auto& file : std::filesystem::directory_iterator(directory_.path())) {
      if (file.path() != input_) std::filesystem::remove(file.path());
    }
  };
  const std::string said = interfered("count", 0).err;
  ASSERT_THAT(said, HasSubstr("calls: "));
  const int calls = std::stoi(said.substr(said.find("calls: ") + 7));
  ASSERT_GT(calls, 20);
  const int allocations = std::stoi(said.substr(said.find("allocations: ") + 13));
  for (const std::string what : {"kill", "EIO", "ENOSPC", "ENOMEM"}) {
    const bool memory = what == "ENOMEM";
    const int count = memory ? allocations : calls;
    const int step = memory ? std::max(1, allocations / (stride == 1 ? 300 : 12)) : stride;
    for (int call = 1; call <= count; call += step) {
      SCOPED_TRACE(what + " at call " + std::to_string(call) + " of " + std::to_string(count));
      clear();
      const ProgramRun ran = interfered(what, call);
      if (what == "kill") {
        ASSERT_EQ(ran.exit_code, -SIGKILL) << ran.err;
      } else if (ran.exit_code != 0) {
        EXPECT_THAT(ran.err, HasSubstr(memory ? "bad_alloc" : "brimful: ")) << "it says why";
      }
      if (std::filesystem::exists(journal) || !std::filesystem::exists(output_)) {
        ASSERT_NE(ran.exit_code, 0) << "a journal that stays is not the end";
      }
      const ProgramRun again = run_brimful(arguments);
      ASSERT_EQ(again.exit_code, 0) << "the same command goes on, or has nothing left to do: " << again.err;
      ASSERT_EQ(answers(output_).size(), 2U);
      ASSERT_EQ(answers(errors).size(), 1U);
      EXPECT_FALSE(std::filesystem::exists(journal));
    }
  }
}

TEST_F(BatchCommand, OneProcessAtATime) {
  write_some(3000, 60);
  RunningProgram first(command(output_));
  ASSERT_TRUE(first.says("host memory, budget")) << first.said();
  expect_refused(run(), "another process is using it");
  EXPECT_FALSE(first.has_ended());
}

// The kernel's account counts. Half of the weights stream.
TEST_F(BatchCommand, KeepsToItsBudget) {
  if (kSanitized) GTEST_SKIP() << kNoBudgetHolds;
  const Bytes budget = kMiB * 128;
  const auto cgroup = MemoryCgroup::create(budget);
  if (!cgroup) GTEST_SKIP() << cgroup.error().message;
  write_some(40, 20);
  drop_page_cache();
  auto arguments = command(output_);
  arguments.at(8) = std::to_string(budget.value);
  const ProgramRun ran = run_brimful(arguments, cgroup->get());
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(answers(output_).size(), 40U);
  EXPECT_EQ((*cgroup)->times_at_limit(), 0U) << ran.err;
  EXPECT_LE((*cgroup)->peak(), budget);
}

/// One line asks for more tokens than any context could hold. It gets as many as there are, and the other
/// lines get their answers.
TEST_F(BatchCommand, AContextThatNoBudgetHoldsShrinks) {
  json huge = completion("huge", "Once upon a time", 1000000);
  huge["body"]["stop"] = {"a", "e", "i", "o", "u"};
  write({completion("usual", "One day", 10), huge});
  const auto model = synth_model(directory_, {.like = "llama-tiny", .type = "Q8_0", .context = 1U << 21});
  auto arguments = command(output_);
  *std::next(std::ranges::find(arguments, "-m")) = model.string();
  const ProgramRun ran = run_brimful(arguments);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("note: the budget holds no context of 10000"));
  const auto got = answers(output_);
  ASSERT_EQ(got.size(), 2U);
  const auto choice = [&](const std::string& id) {
    return got.at(id).at("response").at("body").at("choices").at(0);
  };
  EXPECT_EQ(choice("huge").at("finish_reason"), "stop");
  EXPECT_EQ(choice("usual").at("finish_reason"), "length");
}

/// A mounted disk of `size` bytes. mounted() is false when this user cannot mount one.
class SmallDisk {
 public:
  SmallDisk(const std::filesystem::path& path, Bytes size) : path_(path) {
    std::filesystem::create_directory(path);
    mounted_ =
        ::mount("tmpfs", path.c_str(), "tmpfs", 0, ("size=" + std::to_string(size.value)).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  [[nodiscard]] bool mounted() const { return mounted_; }

 private:
  const std::filesystem::path path_;
  bool mounted_ = false;
};

TEST_F(BatchCommand, AFullDiskPausesItUntilThereIsRoom) {
  const SmallDisk disk(directory_.path() / "disk", kMiB);
  if (!disk.mounted()) GTEST_SKIP() << "this user may not mount a small disk";
  write_some(200, 40);
  const auto output = directory_.path() / "disk" / "out.jsonl";
  const auto filler = directory_.path() / "disk" / "filler";
  std::ofstream(filler) << std::string(900 << 10, 'x');
  RunningProgram running(command(output));
  EXPECT_TRUE(running.says("the disk is full; continues when there is room")) << running.said();
  std::filesystem::remove(filler);
  ASSERT_EQ(running.wait(), 0) << running.said();
  EXPECT_EQ(answers(output).size(), 200U);
}

TEST_F(BatchCommand, ShardsPutTogetherAreTheWhole) {
  std::vector<json> lines;
  for (int i = 0; i < 7; ++i)
    lines.push_back(completion("request " + std::to_string(i), "Number " + std::to_string(i) + " was", 4));
  lines[5]["body"]["prompt"] = std::string(20'000, 'x');  // It does not fit, so it ends in the errors.
  write(lines);
  const auto with = [&](const std::filesystem::path& output, const std::vector<std::string>& more) {
    auto out = command(output);
    out.insert(out.end(), {"-c", "512"});
    out.insert(out.end(), more.begin(), more.end());
    return out;
  };
  ASSERT_EQ(run_brimful(with(output_, {})).exit_code, 0);
  const auto whole = answers(output_);
  ASSERT_EQ(whole.size(), 6U);

  const std::filesystem::path parts = directory_.path() / "parts.jsonl";
  const std::vector<std::string> merge = {"batch", "--merge", "3", "-i", input_, "-o", parts.string()};
  for (int shard = 0; shard < 3; ++shard) {
    expect_refused(run_brimful(merge), "shard " + std::to_string(shard) + "/3 is not finished");
    const ProgramRun ran = run_brimful(with(parts, {"--shard", std::to_string(shard) + "/3"}));
    ASSERT_EQ(ran.exit_code, 0) << ran.err;
  }
  const ProgramRun merged = run_brimful(merge);
  ASSERT_EQ(merged.exit_code, 0) << merged.err;
  const auto together = answers(parts);
  ASSERT_EQ(together.size(), 6U);
  for (const auto& [id, answer] : whole)
    EXPECT_EQ(together.at(id)["response"]["body"]["choices"], answer.at("response")["body"]["choices"]) << id;
  EXPECT_EQ(answers(directory_.path() / "parts.errors.jsonl").size(), 1U);
  expect_refused(run_brimful(merge), "exists already");

  std::filesystem::remove(parts);
  lines.push_back(completion("one more", "And", 1));
  write(lines);
  expect_refused(run_brimful(merge), "'one more'");
  expect_refused(run_brimful(with(parts, {"--shard", "3/3"})), "--shard 3/3");
}

/// Each pod of docs/examples/kubernetes-job.yaml runs this command. The test replaces its folders by others.
TEST_F(BatchCommand, TheCommandOfTheKubernetesExample) {
  std::ifstream file(BRIMFUL_EXAMPLES_DIR "/kubernetes-job.yaml");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t begin = text.find("args: [\"");
  ASSERT_NE(begin, std::string::npos);
  std::string command = text.substr(begin + 8);
  command.resize(command.find('"'));
  const auto replace = [&](const std::string& from, const std::string& to) {
    ASSERT_NE(command.find(from), std::string::npos) << from << " in " << command;
    command.replace(command.find(from), from.size(), to);
  };
  replace("brimful", std::string(BRIMFUL_PROGRAM));
  replace("/data/model.gguf", stories15m().string());
  replace("/data/requests.jsonl", input_);
  replace("/data/answers.jsonl", output_.string());
  replace("60GiB", kAmpleRam);
  write_some(10, 3);
  for (const char* const index : {"0", "1", "2", "3", "2"}) {  // One pod is started a second time.
    ::setenv("JOB_COMPLETION_INDEX", index, 1);
    EXPECT_EQ(std::system((command + " -t 1 2>/dev/null").c_str()), 0) << index;
  }
  ::unsetenv("JOB_COMPLETION_INDEX");
  const ProgramRun merged = run_brimful({"batch", "--merge", "4", "-i", input_, "-o", output_.string()});
  ASSERT_EQ(merged.exit_code, 0) << merged.err;
  EXPECT_EQ(answers(output_).size(), 10U);
}

}  // namespace
}  // namespace brimful::tests
