#include "base/counted.h"

#include <gtest/gtest.h>

namespace brimful {
namespace {

TEST(Counted, OneIsSingularAndAllOthersArePlural) {
  EXPECT_EQ(counted(0, "answer"), "0 answers");
  EXPECT_EQ(counted(1, "answer"), "1 answer");
  EXPECT_EQ(counted(2, "answer"), "2 answers");
}

}  // namespace
}  // namespace brimful
