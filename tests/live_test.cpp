// `brimful ctl` and `brimful top`: a run that is watched and changed while it writes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "program_run.h"
#include "running_program.h"
#include "runtime_directory.h"
#include "sanitized.h"
#include "synth/synth.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr Bytes kLimit = kMiB * (kSanitized ? 1024 : 256);

class LiveProgram : public testing::Test {
 protected:
  void SetUp() override {
    const auto design = synth::design_synth({.like = "llama-160m", .type = "Q4_0"});
    ASSERT_TRUE(design) << design.error().message;
    const auto written = synth::write_synth(*design, directory_.path() / "model.gguf", true, [](Bytes) {});
    ASSERT_TRUE(written) << written.error().message;
    model_ = written->front().string();
  }

  [[nodiscard]] std::vector<std::string> command(int tokens, const std::string& stats) const {
    return {"run",
            "-m",
            model_,
            "--raw",
            "-p",
            "once",
            "-n",
            std::to_string(tokens),
            "-c",
            "4096",
            "-ub",
            "64",
            "--temp",
            "0",
            "-t",
            "1",
            "--ignore-eos",
            "--ram",
            std::to_string(kLimit.value),
            "--spec-type",
            "none",
            "--stats",
            stats};
  }
  [[nodiscard]] std::string stats_file(const std::string& name) const {
    return (directory_.path() / name).string();
  }
  static json read(const std::string& file) {
    std::ifstream in(file);
    return json::parse(in, nullptr, false);
  }
  /// Returns a sample of the run once it writes.
  static json wait_until_writing() {
    const auto end = std::chrono::steady_clock::now() + RunningProgram::kPatience;
    while (std::chrono::steady_clock::now() < end) {
      const ProgramRun top = run_brimful({"top", "--json"});
      const json sample = json::parse(top.out, nullptr, false);
      if (top.exit_code == 0 && !sample["processes"].empty() && sample["processes"][0]["state"] == "writing")
        return sample["processes"][0];
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    ADD_FAILURE() << "it never writes";
    return {};
  }

  static std::uint64_t written_now() {
    const json sample = wait_until_writing();
    return sample.is_object() ? sample["tokens"]["written"].get<std::uint64_t>() : 0;
  }
  static void wait_until_written(std::uint64_t tokens) {
    const auto end = std::chrono::steady_clock::now() + RunningProgram::kPatience;
    while (written_now() < tokens) ASSERT_LT(std::chrono::steady_clock::now(), end) << "it does not go on";
  }

  TemporaryDirectory directory_;
  const RuntimeDirectory runtime_;
  std::string model_;
};

TEST_F(LiveProgram, WritesTheSameTokensWithOtherBudgets) {
  if (kSanitized) GTEST_SKIP() << "no small budget holds a sanitizer";
  auto cgroup = MemoryCgroup::create(kLimit);
  // It writes as many tokens as the context holds, so it still writes when the budgets have changed, however
  // fast it is.
  RunningProgram running(command(-1, stats_file("changed")), cgroup ? cgroup->get() : nullptr);
  const json before = wait_until_writing();
  ASSERT_TRUE(before.is_object());
  EXPECT_EQ(before["model"], model_);
  EXPECT_EQ(before["tiers"][0]["budget_bytes"], kLimit.value);
  EXPECT_GT(before["rates"]["written_tokens_per_second"], 0);
  EXPECT_GT(before["process"]["resident_bytes"], 0);

  const ProgramRun refused = run_brimful({"ctl", "--ram", "1MiB"});
  EXPECT_EQ(refused.exit_code, 3) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("does not fit --ram 1.0 MiB"));
  EXPECT_NE(run_brimful({"ctl", "--vram", "1MiB"}).exit_code, 0);

  const json& bytes = before["tiers"][0]["bytes"];
  const auto of = [&](const char* owner) { return Bytes{bytes[owner].get<std::uint64_t>()}; };
  const Bytes smaller =
      align_down(kLimit - of("unused") - Bytes{of("weights").value / 3}, Bytes{std::uint64_t{4096}});
  const ProgramRun less = run_brimful({"ctl", "--json", "--ram", std::to_string(smaller.value)});
  ASSERT_EQ(less.exit_code, 0) << less.err;
  const json after = json::parse(less.out, nullptr, false);
  EXPECT_EQ(after["tiers"][0]["budget_bytes"], smaller.value);
  EXPECT_GT(after["tiers"][0]["weights_bytes"]["streamed_per_pass"], 0);
  // From now on the kernel itself enforces that limit, while the program writes.
  if (cgroup) {
    EXPECT_TRUE((*cgroup)->set_limit(smaller));
  }
  wait_until_written(written_now() + 30);
  if (cgroup) {
    EXPECT_TRUE((*cgroup)->set_limit(kLimit));
  }
  const ProgramRun more = run_brimful({"ctl", "--ram", std::to_string(kLimit.value)});
  EXPECT_EQ(more.exit_code, 0) << more.err;
  EXPECT_THAT(more.out, HasSubstr("budget " + format_bytes(kLimit)));

  wait_until_written(written_now() + 5);
  running.signal(SIGINT);  // The test has seen enough.
  ASSERT_EQ(running.wait(), 0) << running.said();
  EXPECT_THAT(running.said(), HasSubstr("budgets are now"));
  if (cgroup) {
    EXPECT_EQ((*cgroup)->times_at_limit(), 0U);
  }
  const json changed = read(stats_file("changed"))["token_ids"];
  const ProgramRun undisturbed =
      run_brimful(command(static_cast<int>(changed.size()), stats_file("undisturbed")));
  ASSERT_EQ(undisturbed.exit_code, 0) << undisturbed.err;
  EXPECT_EQ(changed, read(stats_file("undisturbed"))["token_ids"]);
  EXPECT_EQ(running.written(), undisturbed.out);
  EXPECT_GT(read(stats_file("changed"))["passes"]["disk_bytes"], 0) << "it has streamed meanwhile";
  if (!cgroup) GTEST_SKIP() << "no memory cgroup to judge the budget: " << cgroup.error().message;
}

TEST_F(LiveProgram, ShowsPeopleWhatRuns) {
  RunningProgram running(command(-1, stats_file("watched")));
  ASSERT_TRUE(wait_until_writing().is_object());
  const ProgramRun top = run_brimful({"top"});
  EXPECT_EQ(top.exit_code, 0) << top.err;
  EXPECT_THAT(top.out, HasSubstr(model_ + "  writing"));
  EXPECT_THAT(top.out, HasSubstr("host memory, budget " + format_bytes(kLimit)));
  EXPECT_THAT(top.out, HasSubstr("tokens/s"));
  EXPECT_THAT(top.out, HasSubstr("swap: "));
  running.signal(SIGINT);
  EXPECT_EQ(running.wait(), 0) << running.said();
}

TEST_F(LiveProgram, SaysThatNothingRuns) {
  expect_refused(run_brimful({"top"}), "no process of this user runs a model");
  expect_refused(run_brimful({"ctl", "--ram", "1GiB"}), "no process of this user runs a model");
  expect_refused(run_brimful({"ctl", "1", "--ram", "1GiB"}), "process 1 is not a brimful process");
  expect_refused(run_brimful({"ctl"}), "no process of this user runs a model");
  expect_refused(run_brimful({"ctl", "--ram", "a lot"}), "--ram: ");
}

TEST_F(LiveProgram, RunsWithoutASocketToo) {
  ASSERT_EQ(::mkdir((runtime_.path() / "brimful").c_str(), 0755), 0);
  ::chmod((runtime_.path() / "brimful").c_str(), 0755);
  const ProgramRun run = run_brimful(command(4, stats_file("alone")));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("cannot reach this run"));
}

TEST_F(LiveProgram, ListensWhileItWaitsForItsUser) {
  const auto design =
      synth::design_synth({.like = "llama-tiny",
                           .type = "Q4_0",
                           .chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"});
  ASSERT_TRUE(design) << design.error().message;
  const auto written = synth::write_synth(*design, directory_.path() / "chat.gguf", true, [](Bytes) {});
  ASSERT_TRUE(written) << written.error().message;
  ProgramRun changed;
  const ProgramRun chat = run_brimful_on_terminal(
      {"run", "-m", written->front().string(), "-n", "4", "-c", "256", "-t", "1", "--ram", "1GiB"},
      {"one", "two"}, [&](std::size_t line) {
        if (line == 1) changed = run_brimful({"ctl", "--ram", "900MiB"});
      });
  EXPECT_EQ(changed.exit_code, 0) << changed.err;
  EXPECT_THAT(changed.out, HasSubstr("budget 900.0 MiB"));
  EXPECT_EQ(chat.exit_code, 0) << chat.out;
  EXPECT_THAT(chat.out, HasSubstr("peak memory"));
}

}  // namespace
}  // namespace brimful::tests
