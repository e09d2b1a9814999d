// Tests what the program does when the user names no budget, or one that the machine does not have, and how
// many threads compute.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "hardware/compute_threads.h"
#include "hardware/host_memory.h"
#include "memory_cgroup.h"
#include "program_run.h"
#include "runtime_directory.h"
#include "sanitized.h"
#include "synth_model.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class Defaults : public testing::Test {
 protected:
  void SetUp() override {
    model_ = synth_model(directory_, {.like = "llama-tiny", .type = "Q8_0"}).string();
    ASSERT_FALSE(model_.empty());
  }
  [[nodiscard]] std::vector<std::string> run(const std::vector<std::string>& more,
                                             const std::string& stats = "stats") const {
    std::vector<std::string> all{"run",          "-m", model_, "--raw",   "-p",
                                 "once",         "-n", "8",    "--temp",  "0",
                                 "--ignore-eos", "-c", "512",  "--stats", stats_file(stats)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] std::string stats_file(const std::string& name) const {
    return (directory_.path() / name).string();
  }
  [[nodiscard]] json stats(const std::string& name = "stats") const {
    std::ifstream in(stats_file(name));
    return json::parse(in, nullptr, false);
  }

  TemporaryDirectory directory_;
  const RuntimeDirectory runtime_;
  std::string model_;
};

TEST_F(Defaults, ABudgetAboveTheMachinesMemoryCountsAsWhatItHas) {
  const auto machine = hardware::read_host_memory();
  ASSERT_TRUE(machine);
  const ProgramRun ran = run_brimful(run({"--ram", "900TiB"}));
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("is more than the machine has"));
  EXPECT_LE(stats()["budget_bytes"]["host"].get<std::uint64_t>(), machine->total.value);

  const ProgramRun planned =
      run_brimful({"plan", "-m", model_, "--like", "16gb-ddr4-3200, nvme-gen3", "--ram", "900TiB"});
  EXPECT_EQ(planned.exit_code, 0) << planned.err;
  EXPECT_THAT(planned.out + planned.err, HasSubstr("than the machine has (15.5"));
  EXPECT_THAT(planned.out, Not(HasSubstr("TiB of RAM")));
}

TEST_F(Defaults, ACgroupBelowTheBudgetIsTheBudget) {
  if (kSanitized) GTEST_SKIP() << kNoBudgetHolds;
  constexpr Bytes kLimit = kMiB * 128;
  const auto cgroup = MemoryCgroup::create(kLimit);
  if (!cgroup) GTEST_SKIP() << "NOT TESTED: " << cgroup.error().message << " (needs root)";
  drop_page_cache();
  const ProgramRun ran = run_brimful(run({"--ram", "4GiB"}), cgroup->get());
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("is limited to 128"));
  EXPECT_THAT(ran.err, HasSubstr((*cgroup)->entrance().parent_path().filename().string())) << "its name";
  EXPECT_EQ(stats()["budget_bytes"]["host"], kLimit.value);
  EXPECT_LT(stats()["memory_bytes"]["runtime"].get<std::uint64_t>(), (kMiB * 64).value)
      << "the program takes no more than it does elsewhere";
}

TEST_F(Defaults, TwoThatStartAtOnceBothLive) {
  if (kSanitized) GTEST_SKIP() << kNoBudgetHolds;
  const char* const wanted = std::getenv("BRIMFUL_TEST_STARTS");
  const int rounds = wanted != nullptr ? std::atoi(wanted) : 4;
  for (int round = 0; round < rounds; ++round) {
    const auto cgroup = MemoryCgroup::create(kMiB * 256);
    if (!cgroup) GTEST_SKIP() << "NOT TESTED: " << cgroup.error().message << " (needs root)";
    const auto start = [&](const std::string& name) {
      return std::async(std::launch::async, [&, name] { return run_brimful(run({}, name), cgroup->get()); });
    };
    auto first = start("first");
    auto second = start("second");
    for (const ProgramRun& ran : {first.get(), second.get()}) ASSERT_EQ(ran.exit_code, 0) << ran.err;
    const auto budget = [&](const char* name) {
      return stats(name)["budget_bytes"]["host"].get<std::uint64_t>();
    };
    EXPECT_LE(budget("first") + budget("second"), 2 * (kMiB * 256).value);
  }
}

TEST_F(Defaults, MoreThreadsThanProcessorsAreLoweredWithANote) {
  const ProgramRun ran = run_brimful(run({"-t", "512", "--ram", kAmpleRam}));
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  if (hardware::read_compute_limits().most() < 512) {
    EXPECT_THAT(ran.err, HasSubstr("note: -t 512: "));
  }
}

/// The parameter is the number of tokens in front, because from 512 cells on ggml computes the attention of
/// one token in another way.
class ComputeThreadsBehind : public testing::TestWithParam<std::size_t> {};

TEST_P(ComputeThreadsBehind, ChangeNoBitOfTheLogits) {
  const std::size_t before = GetParam();
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  constexpr int kThreads = 2;
  const Settings settings{.context = 1024, .ubatch = 1024, .threads = kThreads};
  const auto logits_with = [&](const std::function<int(int)>& threads, unsigned percent) {
    auto tiered = TieredModel::load(path, settings, percent_of_weights(percent));
    EXPECT_TRUE(tiered) << tiered.error().message;
    std::vector<std::vector<float>> out;
    llama_memory_clear(llama_get_memory((*tiered)->context()), true);
    std::vector<llama_token> next = some_tokens((*tiered)->context(), before);
    for (int pass = 0; pass < 6; ++pass) {
      (*tiered)->device().threads().compute_with(threads(pass));
      SequenceBatch batch;
      const auto first = static_cast<llama_pos>(pass == 0 ? 0 : before - 1 + static_cast<std::size_t>(pass));
      batch.add(0, first, next);
      batch.tokens.back().output = true;
      const auto logits = outputs_of((*tiered)->context(), batch);
      EXPECT_EQ(logits.size(), 1U) << "pass " << pass;
      if (logits.empty()) return out;
      out.push_back(logits.front());
      next = {static_cast<llama_token>(std::ranges::max_element(out.back()) - out.back().begin())};
    }
    return out;
  };
  const auto expected = logits_with([](int) { return kThreads; }, 100);
  for (const unsigned percent : {100U, 50U}) {
    EXPECT_EQ(logits_with([](int) { return 1; }, percent), expected) << percent;
    EXPECT_EQ(logits_with([](int pass) { return 1 + pass % kThreads; }, percent), expected) << percent;
  }
}

INSTANTIATE_TEST_SUITE_P(Tokens, ComputeThreadsBehind, testing::Values(50U, 600U),
                         [](const auto& test) { return std::to_string(test.param); });

}  // namespace
}  // namespace brimful::tests
