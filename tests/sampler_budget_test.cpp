// The budget matrix for the memory of samplers, grammars, templates and log probabilities: with run, serve
// and batch, and with small and large vocabularies. The judges are a memory cgroup whose limit is the
// budget, and the process's own high-water mark.

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "memory_cgroup.h"
#include "program_run.h"
#include "sanitized.h"
#include "scripted_model.h"
#include "served_program.h"
#include "synth/synth.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

using nlohmann::json;

const json kSchema = {{"type", "object"},
                      {"properties", {{"name", {{"type", "string"}}}, {"age", {{"type", "integer"}}}}},
                      {"required", {"name", "age"}}};

/// One request of each kind to `/v1/chat/completions` and `/v1/completions`.
struct Kind {
  const char* name;
  const char* url;
  json body;
};

std::vector<Kind> kinds() {
  const json messages = {{{"role", "user"}, {"content", "Who are you?"}}};
  const json tool = {{"type", "function"}, {"function", {{"name", "greet"}, {"parameters", kSchema}}}};
  return {
      {"plain", "/v1/completions", {{"prompt", "a"}, {"max_tokens", 3}, {"logprobs", 5}, {"top_k", 0}}},
      {"grammar",
       "/v1/completions",
       {{"prompt", "a"},
        {"max_tokens", 6},
        {"response_format", {{"type", "json_schema"}, {"json_schema", {{"schema", kSchema}}}}}}},
      {"tools",
       "/v1/chat/completions",
       {{"messages", messages}, {"max_tokens", 6}, {"tools", {tool}}, {"tool_choice", "required"}}},
      {"128 choices",
       "/v1/completions",
       {{"prompt", "a"}, {"max_tokens", 2}, {"n", 128}, {"grammar", "root ::= [a-z ]+"}}},
  };
}

class SamplerBudget : public testing::TestWithParam<std::uint32_t> {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << kNoBudgetHolds;
    if (const auto cgroup = MemoryCgroup::create(kGiB); !cgroup)
      GTEST_SKIP() << "NOT TESTED that the budget holds: " << cgroup.error().message << " (needs root)";
    model_ = model_of(GetParam());
    ASSERT_FALSE(model_.empty());
    drop_page_cache();
  }
  /// The model is written once for all tests of a vocabulary. The large one has 143 MiB.
  static std::filesystem::path model_of(std::uint32_t vocabulary) {
    static TemporaryDirectory directory;
    static std::map<std::uint32_t, std::filesystem::path> written;
    std::filesystem::path& path = written[vocabulary];
    if (!path.empty()) return path;
    const auto design = synth::design_synth({.like = "llama",
                                             .type = "Q8_0",
                                             .vocabulary = vocabulary,
                                             .context = 512,
                                             .chat_template = kChatMl});
    if (!design) return {};
    const auto files =
        synth::write_synth(*design, directory.path() / (std::to_string(vocabulary) + ".gguf"), true, nullptr);
    if (files) path = files->front();
    return path;
  }
  static void expect_within(const MemoryCgroup& cgroup, Bytes budget) {
    EXPECT_EQ(cgroup.times_at_limit(), 0U);
    EXPECT_LE(cgroup.peak(), budget);
    std::printf("[          ] peak %.1f of %.0f MiB\n", static_cast<double>(cgroup.peak().value) / 1048576,
                static_cast<double>(budget.value) / 1048576);
  }

  static constexpr Bytes kBudget = kMiB * 150;
  static constexpr const char* kRam = "150MiB";
  // This includes the bodies that clients may send at once.
  static constexpr Bytes kServeBudget = kMiB * 280;
  static constexpr const char* kServeRam = "280MiB";
  TemporaryDirectory directory_;
  std::filesystem::path model_;
};

TEST_P(SamplerBudget, HoldsInRun) {
  const std::vector<std::vector<std::string>> all{{"--top-k", "0"}, {"--json-schema", kSchema.dump()}};
  for (const std::vector<std::string>& more : all) {
    const auto cgroup = MemoryCgroup::create(kBudget);
    ASSERT_TRUE(cgroup);
    std::vector<std::string> arguments{"run", "-m", model_.string(), "--raw", "-p", "a", "-n", "6",
                                       "-t",  "1",  "--ram",         kRam};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramRun run = run_brimful(arguments, cgroup->get());
    EXPECT_EQ(run.exit_code, 0) << run.err;
    expect_within(**cgroup, kBudget);
  }
}

TEST_P(SamplerBudget, HoldsInBatch) {
  const auto cgroup = MemoryCgroup::create(kBudget);
  ASSERT_TRUE(cgroup);
  const auto input = directory_.path() / "in.jsonl";
  const auto output = directory_.path() / "out.jsonl";
  {
    std::ofstream out(input);
    for (const Kind& kind : kinds())
      out << json{{"custom_id", kind.name}, {"method", "POST"}, {"url", kind.url}, {"body", kind.body}}.dump()
          << "\n";
  }
  const ProgramRun run = run_brimful(
      {"batch", "-m", model_.string(), "-i", input.string(), "-o", output.string(), "-t", "1", "--ram", kRam},
      cgroup->get());
  EXPECT_EQ(run.exit_code, 0) << run.err;
  expect_within(**cgroup, kBudget);
  std::ifstream in(output);
  int answers = 0;
  for (std::string line; std::getline(in, line);) ++answers;
  EXPECT_EQ(answers, 4) << run.err;
}

TEST_P(SamplerBudget, HoldsInServe) {
  const auto cgroup = MemoryCgroup::create(kServeBudget);
  ASSERT_TRUE(cgroup);
  {
    ServedProgram server(
        {"--ram", kServeRam, "-m", model_.string(), "--state", (directory_.path() / "state").string()}, true,
        cgroup->get());
    for (const Kind& kind : kinds()) {
      SCOPED_TRACE(kind.name);
      const auto got = server.client().Post(kind.url, kind.body.dump(), kJson);
      ASSERT_TRUE(got) << server.said();
      EXPECT_EQ(got->status, 200) << got->body;
    }
    EXPECT_LE(server.high_water_mark(), kServeBudget);
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(), 0) << server.said();
  }
  expect_within(**cgroup, kServeBudget);
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, SamplerBudget, testing::Values(32000U, 262144U),
                         [](const auto& test) { return std::to_string(test.param); });

}  // namespace
}  // namespace brimful::tests
