#include "cli/bench_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace brimful::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

BenchResult some_result() {
  BenchResult out;
  out.model_filename = "a \"b\".gguf";
  out.backends = "CPU";
  out.n_gen = 4;
  out.n_seqs = 2;
  out.samples_ns = {1'000'000'000, 3'000'000'000};
  out.disk_read = Bytes{1600};
  return out;
}

TEST(BenchNumbers, AreListsAndRanges) {
  EXPECT_THAT(*bench_numbers("-p", "128,512"), ElementsAre(128, 512));
  EXPECT_THAT(*bench_numbers("-p", "1-4"), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(*bench_numbers("-p", "1-9+4,7"), ElementsAre(1, 5, 9, 7));
  EXPECT_THAT(*bench_numbers("-p", "2-40*4"), ElementsAre(2, 8, 32));
  for (const char* const bad :
       {"", "x", "1,", "1-", "4-1", "1-9+0", "1-9*1", "0-9*2", "1-4000000000", "-1", "1-2-3", "1-1000000"}) {
    const auto refused = bench_numbers("-p", bad);
    if (std::string_view(bad) == "1,") {
      EXPECT_TRUE(refused);  // as in llama-bench, nothing follows
      continue;
    }
    ASSERT_FALSE(refused) << bad;
    EXPECT_THAT(refused.error().message, HasSubstr("-p"));
  }
}

TEST(BenchResultText, CountsTheTokensOfAllSequences) {
  const BenchResult result = some_result();
  EXPECT_THAT(result.tokens_per_second(), ElementsAre(8, testing::DoubleNear(8.0 / 3, 1e-9)));
  EXPECT_EQ(result.disk_bytes_per_token(), 100);
  EXPECT_EQ(result.test(), "tg4 x2");
  BenchResult both = result;
  both.n_prompt = 512;
  both.n_seqs = 1;
  both.n_depth = 64;
  EXPECT_EQ(both.test(), "pp512+tg4 @ d64");
}

TEST(BenchResultText, IsTheSameInEachFormat) {
  const BenchResult result = some_result();
  const auto whole =
      nlohmann::json::parse(bench_header(BenchFormat::kJson) + bench_row(BenchFormat::kJson, result, true) +
                            bench_row(BenchFormat::kJson, result, false) + bench_footer(BenchFormat::kJson));
  ASSERT_EQ(whole.size(), 2U);
  EXPECT_EQ(whole[0]["model_filename"], result.model_filename);
  EXPECT_EQ(whole[0]["samples_ns"][1], 3'000'000'000);
  EXPECT_EQ(nlohmann::json::parse(bench_row(BenchFormat::kJsonLines, result, true)), whole[1]);
  EXPECT_THAT(bench_row(BenchFormat::kCsv, result, true), HasSubstr("\"a \"\"b\"\".gguf\""));
  EXPECT_THAT(bench_header(BenchFormat::kCsv), HasSubstr("model_filename,model_type,model_size"));
  EXPECT_THAT(bench_row(BenchFormat::kMarkdown, result, true), HasSubstr("5.33 ± 3.77"));
  EXPECT_FALSE(bench_format("xml"));
}

}  // namespace
}  // namespace brimful::cli
