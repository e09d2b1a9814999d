// The budget is exact, and the operating system confirms it: the tests run in a memory cgroup whose limit
// equals --ram.

#include <gtest/gtest.h>
#include <link.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "adapter_files.h"
#include "batch_requests.h"
#include "hardware/host_memory.h"
#include "memory_cgroup.h"
#include "program_run.h"
#include "sanitized.h"
#include "served_program.h"
#include "synth/synth.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

/// The --ram that the program suggests when it refuses a smaller one; 0 when it suggests none.
Bytes named_budget(const std::string& refusal) {
  std::smatch match;
  if (!std::regex_search(refusal, match, std::regex("--ram ([0-9]+[A-Za-z]*) would fit"))) {
    ADD_FAILURE() << "no --ram that would fit in: " << refusal;
    return {};
  }
  return parse_bytes(match[1].str()).value_or(Bytes{});
}

struct Outcome {
  Bytes peak;
  nlohmann::json stats;
};

class Budget : public testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << kNoBudgetHolds;
    const auto cgroup = MemoryCgroup::create(kGiB);
    if (!cgroup)
      GTEST_SKIP() << "NOT TESTED that the budget holds: " << cgroup.error().message << " (needs root)";
  }

  [[nodiscard]] std::vector<std::string> arguments(Bytes ram) const {
    std::vector<std::string> all{"run",         "-m",
                                 model_,        "--raw",
                                 "-p",          "Once upon a time",
                                 "-n",          tokens_,
                                 "-c",          context_,
                                 "-t",          threads_,
                                 "--io",        io_,
                                 "--ram",       std::to_string(ram.value),
                                 "--temp",      "0",
                                 "--stats",     stats_file(),
                                 "--ignore-eos"};
    all.insert(all.end(), more_.begin(), more_.end());
    return all;
  }
  [[nodiscard]] std::string stats_file() const { return (directory_.path() / "stats.json").string(); }
  [[nodiscard]] nlohmann::json stats() const {
    std::ifstream in(stats_file());
    return nlohmann::json::parse(in, nullptr, false);
  }

  /// Returns the memory that the program takes beside the weights. It counts itself as in the runs that are
  /// tested: by its cgroup, which is not charged for what other processes have of its libraries.
  Bytes base() {
    const Bytes budget = align_up(smallest() + Bytes{std::filesystem::file_size(model_)}, kKiB * 4);
    drop_page_cache();
    const auto cgroup = MemoryCgroup::create(budget);
    if (!cgroup) {
      ADD_FAILURE() << cgroup.error().message;
      return {};
    }
    const ProgramRun run = run_brimful(arguments(budget), cgroup->get());
    EXPECT_EQ(run.exit_code, 0) << run.err;
    if (run.exit_code != 0) return {};
    const auto memory = stats()["memory_bytes"];
    weights_ = Bytes{stats()["weights_bytes"]["total"].get<std::uint64_t>()};
    return Bytes{memory["kv_cache"].get<std::uint64_t>() + memory["compute"].get<std::uint64_t>() +
                 memory["draft_model"].get<std::uint64_t>() + memory["runtime"].get<std::uint64_t>()};
  }

  /// Returns the --ram that the program suggests when it refuses a smaller one.
  Bytes smallest() {
    const ProgramRun run = run_brimful(arguments(kMiB));
    EXPECT_NE(run.exit_code, 0);
    return named_budget(run.err);
  }

  /// Returns whether passes read weights, or experts without a slot, from the disk.
  static bool reads_in_passes(const nlohmann::json& stats) {
    return stats["weights_bytes"]["streamed_per_pass"] != 0 || stats.contains("experts");
  }

  Outcome run_within(Bytes budget) {
    Outcome outcome;
    drop_page_cache();
    const auto cgroup = MemoryCgroup::create(budget);
    if (!cgroup) {
      ADD_FAILURE() << cgroup.error().message;
      return outcome;
    }
    const ProgramRun run = run_brimful(arguments(budget), cgroup->get());
    outcome.peak = (*cgroup)->peak();
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ((*cgroup)->times_at_limit(), 0U)
        << "the budget was met " << (*cgroup)->times_at_limit() << " times";
    EXPECT_LE(outcome.peak, budget);
    if (run.exit_code != 0) return outcome;
    outcome.stats = stats();
    const bool streams = reads_in_passes(outcome.stats);
    const auto streamed = outcome.stats["weights_bytes"]["streamed_per_pass"].get<std::uint64_t>();
    const double share = static_cast<double>(outcome.peak.value) / static_cast<double>(budget.value);
    // With a small budget two amounts stand out: the reserve for growth, and the memory that the kernel
    // charges for each processor in advance, up to 256 KiB.
    const Bytes small = Bytes{1280 + 256 * std::thread::hardware_concurrency()} * kKiB.value;
    EXPECT_TRUE(!streams || share >= least_share_ || budget - outcome.peak <= small)
        << "bytes that could have held weights were left: " << share;
    Bytes sum;
    for (const auto& [owner, bytes] : outcome.stats["memory_bytes"].items())
      sum += Bytes{bytes.get<std::uint64_t>()};
    EXPECT_EQ(sum, budget);
    EXPECT_EQ(outcome.stats["budget_bytes"]["host"].get<std::uint64_t>(), budget.value);
    std::printf(
        "[          ] budget %.2f MiB: peak %.2f%% (%.2f MiB free), streamed %.2f MiB a pass, %zu at the "
        "limit\n",
        static_cast<double>(budget.value) / 1048576, 100 * share,
        static_cast<double>((budget - outcome.peak).value) / 1048576, static_cast<double>(streamed) / 1048576,
        static_cast<std::size_t>((*cgroup)->times_at_limit()));
    return outcome;
  }

  void expect_exact_at_every_budget() {
    const Bytes fixed = base();
    const Bytes least = align_up(smallest(), kKiB * 4);
    ASSERT_GT(least, kMiB);
    std::optional<nlohmann::json> tokens;
    for (const unsigned percent : {100U, 75U, 50U, 25U, 0U}) {
      // At 100% this includes the whole blocks in which the weights lie.
      const Bytes weights = percent == 100 ? weights_ + kMiB : Bytes{weights_.value / 100 * percent};
      const Bytes budget = std::max(least, align_up(fixed + weights, kKiB * 4));
      SCOPED_TRACE(testing::Message() << percent << "% of the weights: " << budget.value << " bytes");
      const Outcome outcome = run_within(percent == 0 ? least : budget);
      if (outcome.stats.is_null()) continue;
      EXPECT_EQ(reads_in_passes(outcome.stats), percent != 100);
      if (!tokens) tokens = outcome.stats["token_ids"];
      EXPECT_EQ(outcome.stats["token_ids"], *tokens);
      EXPECT_EQ(outcome.stats["token_ids"].size(), std::stoul(tokens_));
      EXPECT_EQ(outcome.stats["drafts"]["drafted"] > 0, drafts_);
    }
  }

  TemporaryDirectory directory_;
  std::string model_;
  std::string context_ = "512";
  std::string threads_ = "2";
  std::string tokens_ = "6";
  std::string io_ = "auto";
  std::vector<std::string> more_;
  bool drafts_ = false;
  double least_share_ = 0.97;  // The least share of the budget that is used when weights stream.
  Bytes weights_;
};

TEST_F(Budget, IsExactForTheDemoModel) {
  model_ = stories15m();
  if (model_.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  expect_exact_at_every_budget();
}

const std::vector<std::string> kDraftALot{"-p",
                                          "One two three four five six seven. One two three four five six",
                                          "--spec-always", "--spec-draft-n-max", "15"};

TEST_F(Budget, IsExactWithDraftsFromTheText) {
  model_ = stories15m();
  if (model_.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  tokens_ = "24";
  drafts_ = true;
  more_ = kDraftALot;
  // F32 is computed token by token, and the memory for its graphs depends on the placement.
  least_share_ = 0.92;
  expect_exact_at_every_budget();
}

TEST_F(Budget, IsExactWithADraftModel) {
  model_ = stories15m();
  if (model_.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  tokens_ = "24";
  drafts_ = true;
  more_ = kDraftALot;
  more_.insert(more_.end(), {"-md", model_, "--spec-type", "draft-simple"});
  expect_exact_at_every_budget();
}

class SyntheticBudget : public Budget {
 protected:
  void SetUp() override {
    Budget::SetUp();
    if (!IsSkipped()) write({.like = "llama-160m", .type = "Q4_K"});
  }
  void write(const synth::SynthOptions& options) {
    const auto design = synth::design_synth(options);
    ASSERT_TRUE(design);
    const auto written = synth::write_synth(*design, directory_.path() / "model.gguf", true, [](Bytes) {});
    ASSERT_TRUE(written);
    model_ = written->front();
  }
};

TEST_F(SyntheticBudget, IsExactWithTheModelsOwnLayersForDrafts) {
  synth::SynthOptions options{.like = "glm4moe", .type = "Q4_K"};
  options.layers = 6;
  options.vocabulary = 4000;
  options.text = synth::SynthText{.period = 3000, .head_errors = 0.25F};
  write(options);
  tokens_ = "24";
  drafts_ = true;
  more_ = {"--spec-type", "draft-mtp", "--spec-always"};
  least_share_ =
      0.92;  // Drafts are computed token by token, and the memory for that depends on the placement.
  expect_exact_at_every_budget();
}

TEST_F(SyntheticBudget, IsExact) { expect_exact_at_every_budget(); }

TEST_F(SyntheticBudget, IsExactWithReaderThreads) {
  io_ = "threads";
  tokens_ = "2";
  const Bytes fixed = base();
  run_within(align_up(fixed + Bytes{weights_.value / 2}, kKiB * 4));
  run_within(align_up(smallest(), kKiB * 4));
}

TEST_F(SyntheticBudget, IsExactWithMoreThreadsAndALongContext) {
  threads_ = "4";
  tokens_ = "1";
  context_ = "2048";
  const Bytes fixed = base();
  run_within(align_up(fixed + Bytes{weights_.value / 2}, kKiB * 4));
}

TEST_F(SyntheticBudget, IsExactWithExperts) {
  least_share_ = 0.96;  // The share is of very few megabytes.
  // Some experts are read to their place, and others are moved there.
  for (const char* const type : {"Q4_K", "IQ3_S"}) {
    SCOPED_TRACE(type);
    write({.like = "qwen3moe", .type = type, .layers = 20});
    expect_exact_at_every_budget();
  }
}

TEST_F(SyntheticBudget, IsExactWhereNoOtherProcessHasItsLibraries) {
  // The kernel then charges this program for all of their pages, also for those that it only read ahead.
  const auto copies = directory_.path() / "libraries";
  std::filesystem::create_directory(copies);
  const auto copy = [](dl_phdr_info* library, std::size_t, void* folder) {
    const std::filesystem::path file = library->dlpi_name;
    if (file.is_absolute()) copy_file(file, *static_cast<std::filesystem::path*>(folder) / file.filename());
    return 0;
  };
  ::dl_iterate_phdr(copy, const_cast<std::filesystem::path*>(&copies));
  ::setenv("LD_LIBRARY_PATH", copies.c_str(), 1);
  least_share_ = 0.96;
  write({.like = "qwen3moe", .type = "Q4_K", .layers = 20});
  expect_exact_at_every_budget();
  ::unsetenv("LD_LIBRARY_PATH");
}

TEST_F(SyntheticBudget, IsExactWithAGrammar) {
  // Random weights never choose the text of the schema, so the grammar looks at the whole vocabulary each
  // time.
  more_ = {"--json-schema", R"({"type":"object","properties":{"name":{"type":"string"}}})"};
  least_share_ =
      // 8.5 of the smallest 59 MiB are reserved for the most that a grammar may take. This one takes little.
      0.83;
  const Bytes fixed = base();
  run_within(align_up(fixed + Bytes{weights_.value / 2}, kKiB * 4));
  run_within(align_up(smallest(), kKiB * 4));
}

TEST_F(SyntheticBudget, TheBudgetThatARefusalNamesFitsAServer) {
  const auto flags = [&](Bytes ram) {
    return std::vector<std::string>{"-m", model_, "-c", "512", "--ram", std::to_string(ram.value)};
  };
  ServedProgram refused(flags(kMiB), false);
  EXPECT_EQ(refused.wait(), 3);
  const Bytes named = named_budget(refused.said());
  ASSERT_GT(named, kMiB);
  const auto cgroup = MemoryCgroup::create(named);
  ASSERT_TRUE(cgroup) << cgroup.error().message;
  ServedProgram served(flags(named), true, cgroup->get());
  served.signal(SIGTERM);
  EXPECT_EQ(served.wait(), 0) << served.said();
  EXPECT_EQ((*cgroup)->times_at_limit(), 0U);
}

TEST_F(SyntheticBudget, TheBudgetThatARefusalNamesFitsABatch) {
  const std::string requests = (directory_.path() / "requests.jsonl").string();
  const std::string results = (directory_.path() / "results.jsonl").string();
  std::ofstream(requests) << some_lines(4, 8);
  const auto run = [&](Bytes ram) {
    return run_brimful({"batch", "-m", model_, "-i", requests, "-o", results, "-c", "512", "--ram",
                        std::to_string(ram.value)});
  };
  const ProgramRun refused = run(kMiB);
  EXPECT_EQ(refused.exit_code, 3);
  const Bytes named = named_budget(refused.err);
  ASSERT_GT(named, kMiB);
  const ProgramRun done = run(named);
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_LE(done.peak, named);
}

TEST_F(SyntheticBudget, IsExactWithAdapters) {
  const auto lora = directory_.path() / "lora.gguf";
  const auto vector = directory_.path() / "vector.gguf";
  lora_for(model_).write(lora, 1);
  control_vector_for(model_).write(vector, 2);
  more_ = {"--lora", lora.string() + ":0.5", "--lora", lora, "--control-vector", vector};
  const ProgramRun run = run_brimful(arguments(kGiB));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto memory = stats()["memory_bytes"];
  const auto weights = stats()["weights_bytes"]["total"].get<std::uint64_t>();
  const auto adapters = memory["weights"].get<std::uint64_t>() - weights;
  EXPECT_GT(adapters, 2 * std::filesystem::file_size(lora) / 100 * 99);
  const Bytes fixed{memory["kv_cache"].get<std::uint64_t>() + memory["compute"].get<std::uint64_t>() +
                    memory["runtime"].get<std::uint64_t>() + adapters};
  const Outcome half = run_within(align_up(fixed + Bytes{weights / 2}, kKiB * 4));
  EXPECT_EQ(half.stats["token_ids"], stats()["token_ids"]);
}

TEST_F(Budget, IsExactForALargeModel) {
  // Memory that grows with the size of the memory, such as page tables, can only be seen here. The weights
  // are a hole in the file.
  const auto design = synth::design_synth({.like = "llama-1b", .type = "Q8_0", .vocabulary = 32000});
  ASSERT_TRUE(design);
  const auto host = hardware::read_host_memory();
  ASSERT_TRUE(host);
  if (host->available < design->bytes() * 2) GTEST_SKIP() << "too little memory here for a model of 1 GB";
  tokens_ = "2";
  model_ = directory_.path() / "large.gguf";
  const auto& header = design->files.front().header;
  std::ofstream(model_, std::ios::binary)
      .write(reinterpret_cast<const char*>(header.data()), static_cast<std::streamsize>(header.size()));
  std::filesystem::resize_file(model_, design->files.front().size.value);
  run_within(align_down(design->bytes(), kMiB));
  run_within(align_up(smallest(), kKiB * 4));  // There are many small units.
}

}  // namespace
}  // namespace brimful::tests
