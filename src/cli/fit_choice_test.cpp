#include "cli/fit_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/fit.h"

namespace brimful::cli {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

FitRow row(const std::string& tag, double bits, Bytes size, FitVerdict verdict = FitVerdict::kNotPlanned) {
  FitRow out;
  out.tag = tag;
  out.bits_per_weight = bits;
  out.size = size;
  out.verdict = verdict;
  return out;
}

TEST(FitChoice, MoreBitsAreBetterUpToThoseOfTheTraining) {
  std::vector<FitRow> rows{row("Q4_K_M", 4.8, kGiB * 4), row("F32", 32, kGiB * 28),
                           row("Q8_0", 8.5, kGiB * 7), row("BF16", 16, kGiB * 14)};
  sort_by_quality(rows);
  std::vector<std::string> tags;
  for (const FitRow& one : rows) tags.push_back(one.tag);
  EXPECT_THAT(tags, ElementsAre("BF16", "F32", "Q8_0", "Q4_K_M"));
}

TEST(FitChoice, TheTableHasWhatWasPlanned) {
  std::vector<FitRow> rows{row("BF16", 16, kGiB * 14), row("Q8_0", 8.5, kGiB * 7, FitVerdict::kTooSlow),
                           row("Q6_K", 6.6, kGiB * 5, FitVerdict::kGood)};
  rows[1].tokens_per_s = 1.25;
  rows[2].vram = kGiB;
  const std::string table = fit_table(rows, 2);
  EXPECT_THAT(table, AllOf(HasSubstr("> Q6_K "), HasSubstr("chosen"), HasSubstr("too slow"),
                           HasSubstr("VRAM"), Not(HasSubstr("BF16"))));
  EXPECT_EQ(fit_json(rows, 2)["chosen"], "Q6_K");
  EXPECT_EQ(fit_json(rows, std::nullopt)["chosen"], nullptr);
  EXPECT_EQ(fit_json(rows, 2)["models"][0]["verdict"], "not planned");
}

TEST(FitWish, HasBudgetsAndASpeed) {
  const auto wish = parse_fit("vram=11.5GiB,ram=48GiB,tps=3");
  ASSERT_TRUE(wish) << wish.error().message;
  EXPECT_EQ(wish->vram, "11.5GiB");
  EXPECT_EQ(wish->ram, "48GiB");
  EXPECT_EQ(wish->tokens_per_s, 3);
  const auto cards = parse_fit("vram=CUDA0=8GiB,CUDA1=6GiB,ram=48GiB");
  ASSERT_TRUE(cards) << cards.error().message;
  EXPECT_EQ(cards->vram, "CUDA0=8GiB,CUDA1=6GiB");
  EXPECT_EQ(cards->ram, "48GiB");
  EXPECT_FALSE(cards->tokens_per_s);
}

TEST(FitWish, RefusesOthers) {
  for (const char* bad : {"", ",", "ram", "ram=", "ram=much", "vram=8,ram=much", "8GiB", "tps=", "tps=-1",
                          "tps=nan", "tps=inf", "tps=3x", "ram=1GiB,ram=2GiB", "ram=1GiB,speed=3"}) {
    const auto wish = parse_fit(bad);
    EXPECT_FALSE(wish) << bad;
    if (!wish) {
      EXPECT_EQ(wish.error().message.find('\n'), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace brimful::cli
