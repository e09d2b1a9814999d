// `brimful eval` and `brimful imatrix` beside llama.cpp's own tools: the same digits and the same files, at
// every budget, also after they were killed.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "interference.h"
#include "llama_tool.h"
#include "program_run.h"
#include "sanitized.h"
#include "synth_model.h"

namespace brimful::tests {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A text with words and signs, the same on each machine.
std::string some_text(std::size_t words) {
  static const char* const kWords[] = {"once",   "upon",  "a",  "time", "there",     "was",
                                       "little", "bird.", "It", "sang", "42 songs,", "and"};
  std::string out;
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < words; ++i) {
    state = state * 1664525U + 1013904223U;
    out += std::string(kWords[(state >> 16) % std::size(kWords)]) + (i % 17 == 16 ? "\n" : " ");
  }
  return out;
}

class Evaluation : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    dense_ = made("dense", {.like = "llama-tiny", .type = "Q8_0"});
    exact_ = made("exact", {.like = "llama-tiny", .type = "F16"});
    words_ = made("words", {.like = "llama-tiny", .type = "Q8_0", .vocabulary = 1000});
    experts_ = made("experts", {.like = "qwen3moe", .type = "F16"});
    std::ofstream(text()) << some_text(300);
  }
  static void TearDownTestSuite() {
    delete directory_;
    directory_ = nullptr;
  }
  void SetUp() override { ::setenv("XDG_STATE_HOME", at("state").c_str(), 1); }
  void TearDown() override { ::unsetenv("XDG_STATE_HOME"); }

  static std::string made(const std::string& name, const synth::SynthOptions& options) {
    const auto design = synth::design_synth(options);
    const auto written = synth::write_synth(*design, directory_->path() / (name + ".gguf"), true, nullptr);
    return written->front().string();
  }
  static std::string at(const std::string& name) { return (directory_->path() / name).string(); }
  static std::string text() { return at("text.txt"); }

  /// The flags that decide the bits, for both programs.
  static std::vector<std::string> eval(const std::string& model, std::vector<std::string> more = {}) {
    std::vector<std::string> out{"eval", "-m",  model, "-c", "64",    "-b",     "256",
                                 "-ub",  "128", "-t",  "1",  "--ram", kAmpleRam};
    if (std::ranges::find(more, "-f") == more.end() && std::ranges::find(more, "--reference") == more.end())
      out.insert(out.end(), {"-f", text()});
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  static std::string tool_flags(const std::string& model) {
    return "-m " + model + " -c 64 -b 256 -ub 128 -t 1 -f " + text() + " ";
  }
  static std::vector<std::string> imatrix(const std::string& model, const std::string& out,
                                          std::vector<std::string> more = {}) {
    std::vector<std::string> all{"imatrix", "-m",  model, "-f",  text(), "-o", out,     "-c",     "64",
                                 "-b",      "256", "-ub", "128", "-t",   "1",  "--ram", kAmpleRam};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// The smallest budget that fits, as the program names it.
  static std::string smallest_ram(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--ram", "8MiB"});
    const ProgramRun refused = run_brimful(arguments);
    EXPECT_EQ(refused.exit_code, 3) << refused.err;
    const std::size_t begin = refused.err.find("--ram ", refused.err.find("missing; ")) + 6;
    return refused.err.substr(begin, refused.err.find(' ', begin) - begin);
  }

  static inline TemporaryDirectory* directory_ = nullptr;
  static inline std::string dense_, exact_, words_, experts_;
};

TEST_F(Evaluation, PerplexityHasTheDigitsOfLlamaPerplexity) {
  for (const std::string& model : {dense_, experts_}) {
    const ToolRun tool = run_llama_tool("perplexity", tool_flags(model));
    ASSERT_EQ(tool.exit_code, 0) << tool.out;
    const std::string expected = line_of(tool.out, "Final estimate");
    ASSERT_NE(expected, "") << tool.out;
    const ProgramRun run = run_brimful(eval(model));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(line_of(run.out, "Final estimate"), expected);
    EXPECT_EQ(line_of(run.out, "[1]"), line_of(tool.out, "[1]"));
  }
}

TEST_F(Evaluation, LogitsAreTheFileOfLlamaPerplexity) {
  const ToolRun tool =
      run_llama_tool("perplexity", tool_flags(exact_) + "--save-all-logits " + at("tool.logits"));
  ASSERT_EQ(tool.exit_code, 0) << tool.out;
  const ProgramRun run = run_brimful(eval(exact_, {"--save-logits", at("own.logits")}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(bytes_of(at("own.logits")) == bytes_of(at("tool.logits")));
  EXPECT_EQ(line_of(run.out, "Final estimate"), line_of(tool.out, "Final estimate"));

  // Each reads the other's: the whole report is the same, line by line.
  const ToolRun theirs = run_llama_tool(
      "perplexity", tool_flags(dense_) + "--kl-divergence --kl-divergence-base " + at("own.logits"));
  const ProgramRun ours = run_brimful(eval(dense_, {"--reference", at("tool.logits")}));
  ASSERT_EQ(ours.exit_code, 0) << ours.err;
  std::istringstream lines(ours.out);
  int compared = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    EXPECT_THAT(theirs.out, HasSubstr(line + "\n"));
    ++compared;
  }
  EXPECT_GT(compared, 40);
  EXPECT_NE(line_of(ours.out, "Same top p"), "");

  // A reference model gives what its logits give.
  const ProgramRun by_model = run_brimful(eval(dense_, {"--reference", exact_, "-f", text()}));
  EXPECT_EQ(by_model.exit_code, 0) << by_model.err;
  EXPECT_EQ(by_model.out, ours.out);
}

TEST_F(Evaluation, TheSmallestBudgetGivesTheSameDigits) {
  for (const std::string& model : {dense_, experts_}) {
    const ProgramRun ample = run_brimful(eval(model, {"--json"}));
    ASSERT_EQ(ample.exit_code, 0) << ample.err;
    const ProgramRun small = run_brimful(eval(model, {"--json", "--ram", smallest_ram(eval(model))}));
    ASSERT_EQ(small.exit_code, 0) << small.err;
    const auto expected = nlohmann::json::parse(ample.out);
    const auto got = nlohmann::json::parse(small.out);
    EXPECT_EQ(got["perplexity"], expected["perplexity"]);
    EXPECT_GT(got["disk_bytes"], 3 * fs::file_size(model) / 2) << "nothing was streamed";
    if (!kSanitized) {
      EXPECT_LE(got["peak_bytes"], got["budget_bytes"]);
    }
  }
}

TEST_F(Evaluation, TheKernelConfirmsTheBudget) {
  if (kSanitized) GTEST_SKIP() << kNoBudgetHolds;
  if (!MemoryCgroup::create(kGiB))
    GTEST_SKIP() << "NOT TESTED that the budget holds: no memory cgroup can be made";
  const auto saves = eval(dense_, {"--save-logits", at("limited.logits")});
  for (const auto& arguments :
       {saves, eval(dense_, {"--reference", at("limited.logits")}), imatrix(exact_, at("limited.gguf")),
        imatrix(experts_, at("limited-experts.gguf"))}) {
    const std::string ram = smallest_ram(arguments);
    const auto cgroup = MemoryCgroup::create(*parse_bytes(ram));
    ASSERT_TRUE(cgroup) << cgroup.error().message;
    drop_page_cache();
    std::vector<std::string> limited = arguments;
    limited.insert(limited.end(), {"--ram", ram});
    const ProgramRun run = run_brimful(limited, cgroup->get());
    EXPECT_EQ(run.exit_code, 0) << ram << ": " << run.err;
    EXPECT_EQ((*cgroup)->times_at_limit(), 0U) << testing::PrintToString(arguments) << " with " << ram;
  }
}

TEST_F(Evaluation, ImportanceMatricesAreTheFilesOfLlamaImatrix) {
  for (const std::string& model : {exact_, experts_}) {
    const ToolRun tool =
        run_llama_tool("imatrix", tool_flags(model) + "--process-output -o " + at("tool.gguf"));
    ASSERT_EQ(tool.exit_code, 0) << tool.out;
    const std::string smallest = smallest_ram(imatrix(model, at("own.gguf"), {"--process-output"}));
    for (const std::string& ram : {std::string(kAmpleRam), smallest}) {
      fs::remove(at("own.gguf"));
      const ProgramRun run = run_brimful(imatrix(model, at("own.gguf"), {"--process-output", "--ram", ram}));
      ASSERT_EQ(run.exit_code, 0) << run.err;
      EXPECT_TRUE(bytes_of(at("own.gguf")) == bytes_of(at("tool.gguf"))) << model << " with " << ram;
      EXPECT_EQ(line_of(run.out, "Final estimate"), line_of(tool.out, "Final estimate"));
    }
  }
}

TEST_F(Evaluation, AKilledOneGoesOnWithTheSameResult) {
  const ProgramRun whole = run_brimful(eval(dense_, {"--save-logits", at("whole.logits")}));
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  const ProgramRun matrix = run_brimful(imatrix(exact_, at("whole.gguf")));
  ASSERT_EQ(matrix.exit_code, 0) << matrix.err;
  int resumed = 0;
  for (const int call : {5, 14, 20}) {
    fs::remove_all(at("state"));
    const auto arguments = eval(dense_, {"--save-logits", at("cut.logits")});
    {
      const Interference kills("kill", call, directory_->path());
      EXPECT_EQ(run_brimful(arguments).exit_code, -SIGKILL) << call;
    }
    const ProgramRun run = run_brimful(arguments);
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(line_of(run.out, "Final estimate"), line_of(whole.out, "Final estimate"));
    EXPECT_TRUE(bytes_of(at("cut.logits")) == bytes_of(at("whole.logits"))) << call;
    resumed += run.err.find("going on behind chunk") != std::string::npos ? 1 : 0;
  }
  EXPECT_GT(resumed, 0);
  {
    const Interference kills("kill", 6, directory_->path());
    EXPECT_EQ(run_brimful(imatrix(exact_, at("cut.gguf"))).exit_code, -SIGKILL);
  }
  EXPECT_FALSE(fs::exists(at("cut.gguf")));
  const ProgramRun run = run_brimful(imatrix(exact_, at("cut.gguf")));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("going on behind chunk"));
  EXPECT_EQ(line_of(run.out, "Final estimate"), line_of(matrix.out, "Final estimate"));
  EXPECT_TRUE(bytes_of(at("cut.gguf")) == bytes_of(at("whole.gguf")));
  EXPECT_FALSE(fs::exists(at("cut.gguf.partial")));
}

TEST_F(Evaluation, SeveralChunksShareAPassWhereWeightsStream) {
  const std::vector<std::string> open{"eval", "-m", dense_, "-f", text(), "-c", "64", "-t", "1", "--json"};
  std::vector<std::string> small = open;
  small.insert(small.end(), {"--ram", smallest_ram(eval(dense_))});
  const ProgramRun run = run_brimful(small);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = nlohmann::json::parse(run.out);
  EXPECT_LT(json["passes"].get<int>(), json["chunks"].get<int>());
}

TEST_F(Evaluation, BadInputIsOneLineAndLosesNothing) {
  std::ofstream(at("empty.txt"));
  std::ofstream(at("binary.txt")) << std::string("a\0b", 3) << some_text(1000);
  std::ofstream(at("short.txt")) << "once upon a time";
  std::ofstream(at("other.txt")) << "Another text. " << some_text(300);
  std::ofstream(at("no.logits")) << "_logits_ but no more";
  const auto of_text = [](const std::string& file) { return eval(dense_, {"-f", at(file)}); };
  expect_refused(run_brimful(of_text("empty.txt")), "the text is empty");
  expect_refused(run_brimful(of_text("binary.txt")), "byte 2 is zero");
  expect_refused(run_brimful(of_text("short.txt")), "use a longer text, or a smaller -c");
  expect_refused(run_brimful(of_text("absent.txt")), "absent.txt");
  expect_refused(run_brimful({"eval", "-m", dense_}), "-f FILE");
  expect_refused(run_brimful(eval(dense_, {"-f", text(), "--chunks", "0"})), "--chunks 0");
  expect_refused(run_brimful(eval(dense_, {"-f", text(), "-c", "2"})), "-c 2");
  expect_refused(run_brimful(eval(dense_, {"--reference", at("absent.logits")})), "there is no such file");
  expect_refused(run_brimful(eval(dense_, {"--reference", at("no.logits")})), "no.logits");
  expect_refused(run_brimful(eval(dense_, {"--save-logits", "/no/such/folder/x"})), "/no/such/folder/x");

  ASSERT_EQ(run_brimful(eval(dense_, {"--save-logits", at("good.logits")})).exit_code, 0);
  expect_refused(run_brimful(eval(dense_, {"--reference", at("good.logits"), "-f", at("other.txt")})),
                 "another text");
  expect_refused(run_brimful(eval(words_, {"--reference", at("good.logits")})), "vocabulary");
  expect_refused(run_brimful(eval(dense_, {"--reference", words_, "-f", text()})), "vocabulary");
  expect_refused(run_brimful(eval(dense_, {"--reference", at("good.logits"), "-c", "128"})), "chunks of 64");
  fs::resize_file(at("good.logits"), fs::file_size(at("good.logits")) - 1);
  expect_refused(run_brimful(eval(dense_, {"--reference", at("good.logits")})), "not written to its end");

  std::ofstream(at("precious.gguf")) << "old";
  expect_refused(run_brimful(imatrix(dense_, "/no/such/folder/x.gguf")), "/no/such/folder");
  {
    const Interference full("ENOSPC", 3, directory_->path());
    const ProgramRun run = run_brimful(imatrix(dense_, at("precious.gguf")));
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.err, HasSubstr("No space left on device"));
  }
  EXPECT_EQ(bytes_of(at("precious.gguf")), "old");
  std::ofstream(at("no.state")) << "something else";
  expect_refused(run_brimful(eval(dense_, {"--checkpoint", at("no.state"), "--restart"})), "no checkpoint");
  EXPECT_EQ(bytes_of(at("no.state")), "something else");
  std::ofstream(at("of-another.state")) << "brimful checkpoint 1\nof another";
  expect_refused(run_brimful(eval(dense_, {"--checkpoint", at("of-another.state")})), "--restart");
}

}  // namespace
}  // namespace brimful::tests
