#include "base/suggest.h"

#include <gtest/gtest.h>

#include <vector>

namespace brimful {
namespace {

const std::vector<std::string> kNames{"run",  "batch", "serve", "ctl",  "top",
                                      "plan", "probe", "show",  "synth"};
const std::vector<std::string> kFlags{"-m",     "--model", "-n",      "--ram",
                                      "--vram", "--temp",  "--top-k", "--top-p"};

TEST(EditDistance, CountsSingleSteps) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("serve", "serve"), 0U);
  EXPECT_EQ(edit_distance("serv", "serve"), 1U);
  EXPECT_EQ(edit_distance("sreve", "serve"), 1U) << "two neighbours are swapped";
  EXPECT_EQ(edit_distance("SERVE", "serve"), 0U) << "case does not count";
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

TEST(Nearest, FindsAMistypedCommand) {
  EXPECT_EQ(nearest("rnu", kNames), "run");
  EXPECT_EQ(nearest("serv", kNames), "serve");
  EXPECT_EQ(nearest("prob", kNames), "probe");
  EXPECT_EQ(nearest("bacth", kNames), "batch");
  EXPECT_EQ(nearest("Show", kNames), "show");
}

TEST(Nearest, FindsAMistypedFlagWithItsDashes) {
  EXPECT_EQ(nearest("--rma", kFlags), "--ram");
  EXPECT_EQ(nearest("--modle", kFlags), "--model");
  EXPECT_EQ(nearest("-ram", kFlags), "--ram") << "one dash too few";
  EXPECT_EQ(nearest("--temperature", kFlags), std::nullopt);
  EXPECT_EQ(nearest("--mod", kFlags), "--model") << "the word begins one name only";
}

TEST(Nearest, FindsAMistypedBeginning) {
  const std::vector<std::string> flags{"--input-file", "--output-file", "--cache-type-k", "--cache-type-v"};
  EXPECT_EQ(nearest("--inptu", flags), "--input-file");
  EXPECT_EQ(nearest("--otuput", flags), "--output-file");
  EXPECT_EQ(nearest("--cahce", flags), std::nullopt) << "two flags begin so";
}

TEST(Nearest, KeepsSilentWhereNothingIsNear) {
  EXPECT_EQ(nearest("nosuch", kNames), std::nullopt);
  EXPECT_EQ(nearest("", kNames), std::nullopt);
  EXPECT_EQ(nearest("--", kFlags), std::nullopt);
  EXPECT_EQ(nearest("x", kNames), std::nullopt);
  EXPECT_EQ(nearest(std::string(100'000, 'r'), kNames), std::nullopt);
  EXPECT_EQ(suggestion("nosuch", kNames), "");
  EXPECT_EQ(suggestion("rnu", kNames), "; do you mean 'run'?");
}

}  // namespace
}  // namespace brimful
