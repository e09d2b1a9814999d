// Compares forecasts of `brimful plan` with measurements that others have published; docs/adr/0021 has the
// sources. Only headers of the models exist.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "program_run.h"
#include "synth_model.h"

namespace brimful::tests {
namespace {

struct Measured {
  double least = 0;  ///< The lower end of the measured range, in tokens/s.
  double most = 0;
};

class PublicRates : public testing::Test {
 protected:
  static constexpr double kTolerance = 0.25;

  nlohmann::json plan(const synth::SynthOptions& shape, const std::string& machine,
                      const std::vector<std::string>& more) {
    const auto design = synth::design_synth(shape);
    EXPECT_TRUE(design) << design.error().message;
    if (!design) return {};
    const auto file = directory_.path() / "model.gguf";
    const auto written = synth::write_synth_headers(*design, file, true);
    EXPECT_TRUE(written) << written.error().message;
    std::vector<std::string> all{"plan", "-m", file.string(), "--json", "--like", machine};
    all.insert(all.end(), more.begin(), more.end());
    const ProgramRun run = run_brimful(all);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return nlohmann::json::parse(run.out, nullptr, false);
  }

  static void expect_near(const nlohmann::json& plan, const char* what, Measured measured) {
    ASSERT_TRUE(plan.contains(what)) << plan;
    const double planned = plan[what];
    RecordProperty(what, std::to_string(planned));
    EXPECT_GE(planned, measured.least * (1 - kTolerance)) << what << ": " << plan["seconds_per_pass"];
    EXPECT_LE(planned, measured.most * (1 + kTolerance)) << what << ": " << plan["seconds_per_pass"];
  }

  TemporaryDirectory directory_;
};

constexpr const char* kDecode = "decode_tokens_per_second";
constexpr const char* kPrompt = "prompt_tokens_per_second";

TEST_F(PublicRates, OfSevenBillionWeightsOnAnRtx4090) {
  const std::vector<std::string> flags{"-c", "1024", "--prompt-tokens", "512", "-ub", "512"};
  const char* const machine = "rtx-4090-24gb, 64gb-ddr5-6000, nvme-gen4, 8c16t";
  const nlohmann::json half = plan({.like = "llama-7b", .type = "F16"}, machine, flags);
  expect_near(half, kDecode, {61.0, 61.0});
  expect_near(half, kPrompt, {11048, 11048});
  const nlohmann::json quantised = plan({.like = "llama-7b", .type = "Q8_0"}, machine, flags);
  expect_near(quantised, kDecode, {98.1, 98.1});
  expect_near(quantised, kPrompt, {7664, 7664});
}

TEST_F(PublicRates, OfEightBillionWeightsOnAnRtx2080) {
  expect_near(plan({.like = "llama-8b", .type = "Q4_K"}, "rtx-2080-8gb, 32gb-ddr4-3200, nvme-gen3, 8c16t",
                   {"-c", "1024", "--prompt-tokens", "512"}),
              kDecode, {71.9, 71.9});
}

/// The card holds everything except for the experts. The source does not say which memory the machine had,
/// so both usual kinds must give a fitting forecast.
TEST_F(PublicRates, OfGptOssWithAllExpertsOnTheCoresOfAnI9) {
  for (const char* const memory : {"96gb-ddr5-5600", "96gb-ddr5-6800"}) {
    SCOPED_TRACE(memory);
    expect_near(plan({.like = "gpt-oss-120b", .type = "MXFP4"},
                     std::string("rtx-3090-24gb, i9-14900k, nvme-gen4, ") + memory,
                     {"-c", "16384", "--prompt-tokens", "12717", "--n-cpu-moe", "36"}),
                kDecode, {25.6, 25.6});
  }
}

TEST_F(PublicRates, OfGptOssWithMostExpertsOnTheCoresBesideTwoCards) {
  expect_near(plan({.like = "gpt-oss-120b", .type = "MXFP4"},
                   "rtx-3090-24gb, rtx-3090-24gb, ryzen-7-5800x, 64gb-ddr4-3200, nvme-gen4",
                   {"-c", "4096", "--n-cpu-moe", "26"}),
              kDecode, {10, 17});
}

TEST_F(PublicRates, OfSeventyBillionWeightsOnCoresAlone) {
  expect_near(plan({.like = "llama-70b", .type = "Q4_K"}, "ryzen-7-7800x3d, 64gb-ddr5-6000, nvme-gen4",
                   {"-c", "1024"}),
              kDecode, {1.41, 1.41});
}

}  // namespace
}  // namespace brimful::tests
