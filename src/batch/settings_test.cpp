#include "batch/settings.h"

#include <gtest/gtest.h>

namespace brimful::batch {
namespace {

const Settings kBefore = {{"-m", "1f-60", "a.gguf (60 B, 1f)"}, {"-c", "512", ""}, {kServedName, "a", ""}};

TEST(BatchSettings, TheSameSettingsDoNotDiffer) { EXPECT_EQ(difference(kBefore, kBefore), ""); }

TEST(BatchSettings, ADifferenceNamesBothValues) {
  const Settings now = {{"-m", "2e-70", "b.gguf (70 B, 2e)"}, {"-c", "512", ""}};
  EXPECT_EQ(difference(kBefore, now), "-m was a.gguf (60 B, 1f) and is now b.gguf (70 B, 2e)");
}

TEST(BatchSettings, AFlagThatIsNotGivenDiffersFromOneThatIs) {
  EXPECT_EQ(difference(kBefore, {{"-c", "", ""}}), "-c was 512 and is now not given");
  EXPECT_EQ(difference(kBefore, {{"-c", "256", ""}, {"-fa", "off", ""}}),
            "-c was 512 and is now 256; -fa was not given and is now off");
}

TEST(BatchSettings, AFileThatWasMovedIsTheSame) {
  EXPECT_EQ(difference(kBefore, {{"-m", "1f-60", "elsewhere/c.gguf (60 B, 1f)"}}), "");
}

TEST(BatchSettings, TheFingerprintFollowsWhatChangesAnswers) {
  const std::string before = fingerprint(kBefore);
  EXPECT_EQ(before.size(), 19U);
  EXPECT_EQ(fingerprint({kBefore[0], kBefore[1], {"-fa", "", ""}}), before)
      << "the name, and what is not given";
  EXPECT_NE(fingerprint({kBefore[0]}), before);
  EXPECT_NE(fingerprint({kBefore[0], {"-c", "256", ""}}), before);
}

}  // namespace
}  // namespace brimful::batch
