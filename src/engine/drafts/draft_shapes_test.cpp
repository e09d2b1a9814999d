#include "engine/drafts/draft_shapes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(DraftShapes, AreFewAndHaveTheLongest) {
  EXPECT_THAT(draft_lengths(0), IsEmpty());
  EXPECT_THAT(draft_lengths(1), ElementsAre(1));
  EXPECT_THAT(draft_lengths(5), ElementsAre(1, 3, 5));
  EXPECT_THAT(draft_lengths(15), ElementsAre(1, 3, 7, 15));
}

TEST(DraftShapes, ADraftIsCutToTheNextShape) {
  EXPECT_EQ(draft_length_within(15, 0), 0U);
  EXPECT_EQ(draft_length_within(15, 2), 1U);
  EXPECT_EQ(draft_length_within(15, 14), 7U);
  EXPECT_EQ(draft_length_within(5, 9), 5U);
  EXPECT_EQ(draft_length_within(0, 9), 0U);
}

}  // namespace
}  // namespace brimful::engine
