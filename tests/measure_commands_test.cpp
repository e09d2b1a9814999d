// `brimful bench`, `tokenize`, `split` and `merge`, beside llama.cpp's own tools where these say the same.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "interference.h"
#include "llama_tool.h"
#include "program_run.h"
#include "sanitized.h"
#include "synth_model.h"

namespace brimful::tests {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class MeasureCommands : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    model_ = synth_model(*directory_, {.like = "llama-tiny", .type = "Q8_0"}).string();
  }
  static void TearDownTestSuite() {
    delete directory_;
    directory_ = nullptr;
  }
  static std::string at(const std::string& name) { return (directory_->path() / name).string(); }
  static std::vector<std::string> bench(std::vector<std::string> more) {
    std::vector<std::string> out{"bench", model_, "-p", "32", "-n",    "4",
                                 "-r",    "2",    "-t", "1",  "--ram", kAmpleRam};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }

  static inline TemporaryDirectory* directory_ = nullptr;
  static inline std::string model_;
};

TEST_F(MeasureCommands, BenchMeasuresEachTestOfEachSetup) {
  const ProgramRun run = run_brimful(bench({"-pg", "16,2", "-d", "0,64", "-np", "1,2", "-o", "json"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto results = nlohmann::json::parse(run.out);
  ASSERT_EQ(results.size(), 2U * 2 * 3);
  std::set<std::string> tests;
  for (const auto& result : results) {
    EXPECT_EQ(result["samples_ns"].size(), 2U);
    EXPECT_GT(result["avg_ts"], 0);
    EXPECT_EQ(result["model_filename"], model_);
    if (!kSanitized) {
      EXPECT_LE(result["ram_peak_bytes"], result["ram_budget_bytes"]);
    }
    tests.insert(result["n_prompt"].dump() + "+" + result["n_gen"].dump() + "@" + result["n_depth"].dump() +
                 "x" + result["n_seqs"].dump());
  }
  EXPECT_EQ(tests.size(), 12U);
}

TEST_F(MeasureCommands, BenchCountsWhatEachTokenReads) {
  const ProgramRun refused = run_brimful(bench({"--ram", "8MiB"}));
  ASSERT_EQ(refused.exit_code, 3) << refused.err;
  const std::size_t begin = refused.err.find("--ram ", refused.err.find("missing; ")) + 6;
  const std::string smallest = refused.err.substr(begin, refused.err.find(' ', begin) - begin);
  const ProgramRun run = run_brimful(bench({"-p", "0", "--ram", smallest, "-o", "jsonl"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto result = nlohmann::json::parse(run.out);
  EXPECT_GT(result["disk_bytes_per_token"].get<double>(), static_cast<double>(fs::file_size(model_)) / 4);
  EXPECT_THAT(run_brimful(bench({"-o", "csv"})).out, HasSubstr("build_commit,cpu_info"));
  EXPECT_THAT(run_brimful(bench({})).out, HasSubstr(" tg4 |"));
}

TEST_F(MeasureCommands, BenchRefusesWhatItCannotMeasure) {
  expect_refused(run_brimful(bench({"-p", "x"})), "-p x");
  expect_refused(run_brimful(bench({"-p", "0", "-n", "0"})), "nothing to measure");
  expect_refused(run_brimful(bench({"-pg", "5"})), "-pg 5");
  expect_refused(run_brimful(bench({"-o", "xml"})), "-o xml");
  expect_refused(run_brimful(bench({"-r", "0"})), "-r 0");
  expect_refused(run_brimful(bench({"-np", "0"})), "-np 0");
  expect_refused(run_brimful({"bench", at("absent.gguf")}), "absent.gguf");
}

TEST_F(MeasureCommands, TokensAreThoseOfLlamaTokenize) {
  const std::string text = "Hello, world! </s> <s>\\n  \xC3\xA4\xE2\x82\xAC 12345";
  std::ofstream(at("text.txt")) << text << "\n";
  const std::string file = " -f " + at("text.txt") + " ";
  for (const std::string flags :
       {"--ids", "--ids --no-bos", "--ids --no-parse-special", "--ids --show-count", "--show-count"}) {
    const ToolRun tool = run_llama_tool("tokenize", "-m " + model_ + file + flags, false);
    ASSERT_EQ(tool.exit_code, 0) << tool.out;
    std::vector<std::string> arguments{"tokenize", model_, "-f", at("text.txt")};
    std::istringstream words(flags);
    for (std::string word; words >> word;) arguments.push_back(word);
    const ProgramRun run = run_brimful(arguments);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out, tool.out) << flags;
  }
  const ProgramRun json = run_brimful({"tokenize", model_, "Hello", "--json"});
  const auto parsed = nlohmann::json::parse(json.out);
  EXPECT_EQ(parsed["count"], parsed["ids"].size());
  EXPECT_EQ(parsed["pieces"].size(), parsed["ids"].size());
  expect_refused(run_brimful({"tokenize", model_}), "give one text");
  expect_refused(run_brimful({"tokenize", model_, "-f", at("absent.txt")}), "absent.txt");
}

TEST_F(MeasureCommands, PartsHaveTheBytesOfLlamaGgufSplit) {
  const std::string limits[][2] = {{"--split-max-tensors", "5"}, {"--split-max-size", "1M"}};
  for (const auto& limit : limits) {
    const std::string tool_parts = at("tool" + limit[1]);
    const std::string own_parts = at("own" + limit[1]);
    const ToolRun tool = run_llama_tool(
        "gguf-split", "--split " + limit[0] + " " + limit[1] + " " + model_ + " " + tool_parts);
    const ProgramRun run = run_brimful({"split", model_, own_parts, limit[0], limit[1]});
    if (tool.exit_code != 0) {  // a tensor is larger than the limit
      EXPECT_NE(run.exit_code, 0);
      continue;
    }
    ASSERT_EQ(run.exit_code, 0) << run.err;
    std::size_t parts = 0;
    std::string first;
    for (const auto& entry : fs::directory_iterator(directory_->path())) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("tool" + limit[1] + "-0")) continue;
      ++parts;
      if (name.find("-00001-of-") != std::string::npos) first = name.substr(4);
      EXPECT_TRUE(bytes_of(entry.path()) == bytes_of(at("own" + name.substr(4)))) << name;
    }
    EXPECT_GT(parts, 1U);
    ASSERT_EQ(
        run_llama_tool("gguf-split", "--merge " + at("tool" + first) + " " + at("tool-merged" + limit[1]))
            .exit_code,
        0);
    const ProgramRun merged = run_brimful({"merge", at("own" + first), at("own-merged" + limit[1])});
    EXPECT_EQ(merged.exit_code, 0) << merged.err;
    EXPECT_TRUE(bytes_of(at("own-merged" + limit[1])) == bytes_of(at("tool-merged" + limit[1])));
  }
}

TEST_F(MeasureCommands, AFullDiskLeavesNoPart) {
  {
    const Interference full("ENOSPC", 2, directory_->path());
    const ProgramRun run = run_brimful({"split", model_, at("full"), "--split-max-tensors", "5"});
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.err, HasSubstr("No space left on device"));
  }
  for (const auto& entry : fs::directory_iterator(directory_->path()))
    EXPECT_THAT(entry.path().filename().string(), testing::Not(testing::StartsWith("full")));
  expect_refused(run_brimful({"split", at("absent.gguf"), at("x")}), "absent.gguf");
  expect_refused(run_brimful({"split", model_, at("x"), "--split-max-size", "nonsense"}),
                 "--split-max-size nonsense");
  expect_refused(run_brimful({"merge", model_, at("x.gguf")}), "no part of a split file");
}

}  // namespace
}  // namespace brimful::tests
