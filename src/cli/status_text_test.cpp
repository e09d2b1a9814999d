#include "cli/status_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace brimful::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

TEST(ScreenText, FillsNoMoreThanTheRows) {
  const std::string small = screen_text("one\ntwo\n", 24);
  EXPECT_THAT(small, HasSubstr("one\033[K\ntwo\033[K\nq quits\033[K"));
  EXPECT_TRUE(small.starts_with("\033[H")) << "drawn over what was there";
  const std::string cut = screen_text("one\ntwo\nthree\nfour\n", 3);
  EXPECT_EQ(std::ranges::count(cut, '\n'), 2) << "the last row has no newline: nothing scrolls away";
  EXPECT_THAT(cut, HasSubstr("two"));
  EXPECT_THAT(cut, Not(HasSubstr("three")));
  EXPECT_THAT(cut, HasSubstr("a taller window shows more"));
}

TEST(SampleText, SaysWhoHoldsTheMemoryOfACard) {
  const auto mib = [](std::uint64_t number) { return number << 20; };
  json all{{"processes", {{{"pid", 1}, {"rates", json::object()}}}}, {"swap", json::object()}};
  json& card = all["gpus"].emplace_back(json{{"name", "a card"},
                                             {"total_bytes", mib(8192)},
                                             {"used_bytes", mib(2048)},
                                             {"processes", {{{"pid", 1}, {"used_bytes", mib(1024)}}}}});
  EXPECT_THAT(sample_text(all),
              HasSubstr("a card: 2.00 GiB of 8.00 GiB used, 1.00 GiB by brimful, 1.00 GiB by others\n"));
  card["reserved_bytes"] = mib(512);
  EXPECT_THAT(sample_text(all),
              HasSubstr("a card: 2.00 GiB of 8.00 GiB used, 512.0 MiB by its driver, 1.00 GiB by "
                        "brimful, 512.0 MiB by others\n"));
}

TEST(RunningText, NamesProcessesWithTheirModelsAndBudgets) {
  const json statuses{{{"pid", 4711},
                       {"model", "/models/a.gguf"},
                       {"state", "writing"},
                       {"tiers",
                        {{{"name", "host"}, {"budget_bytes", 12ULL << 30}},
                         {{"name", "CUDA0"}, {"budget_bytes", 8ULL << 30}}}}},
                      {{"pid", 4712}, {"model", "b.gguf"}, {"state", "loading"}},
                      {{"pid", 4713}}};
  const std::string text = running_text(statuses);
  EXPECT_THAT(text, HasSubstr("4711     /models/a.gguf  writing  budgets: host 12.00 GiB, CUDA0 8.00 GiB\n"));
  EXPECT_THAT(text, HasSubstr("4712     b.gguf  loading\n"));
  EXPECT_THAT(text, HasSubstr("4713     does not answer"));
}

}  // namespace
}  // namespace brimful::cli
