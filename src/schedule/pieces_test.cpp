#include "schedule/pieces.h"

#include <gtest/gtest.h>

#include <vector>

namespace brimful::schedule {
namespace {

std::vector<std::size_t> cut(const Pieces& pieces, std::size_t prompt, std::size_t from = 0) {
  std::vector<std::size_t> out;
  while (from < prompt) {
    out.push_back(pieces.next(prompt - from));
    from += out.back();
  }
  return out;
}

TEST(Pieces, AreWholeButForTheLast) {
  const Pieces pieces(512);
  EXPECT_EQ(cut(pieces, 1), (std::vector<std::size_t>{1}));
  EXPECT_EQ(cut(pieces, 128), (std::vector<std::size_t>{128}));
  EXPECT_EQ(cut(pieces, 191), (std::vector<std::size_t>{191}));
  EXPECT_EQ(cut(pieces, 192), (std::vector<std::size_t>{128, 64}));
  EXPECT_EQ(cut(pieces, 400), (std::vector<std::size_t>{128, 128, 144}));
}

TEST(Pieces, NeverExceedAPass) {
  for (const std::size_t pass : {1U, 63U, 64U, 128U, 150U}) {
    const Pieces pieces(pass);
    for (std::size_t prompt = 1; prompt < 700; ++prompt) {
      for (const std::size_t piece : cut(pieces, prompt)) {
        ASSERT_GE(piece, 1U);
        ASSERT_LE(piece, pass);
      }
    }
  }
}

TEST(Pieces, AreTheSameBehindABeginningThatIsReused) {
  for (const std::size_t pass : {32U, 128U, 512U}) {
    const Pieces pieces(pass);
    for (std::size_t prompt = 1; prompt < 700; prompt += 7) {
      const auto all = cut(pieces, prompt);
      for (std::size_t most = 0; most < 700; most += 31) {
        const std::size_t reused = pieces.whole_pieces(prompt, most);
        ASSERT_LE(reused, most);
        ASSERT_LT(reused, prompt);
        const auto rest = cut(pieces, prompt, reused);
        const auto begin = all.end() - static_cast<std::ptrdiff_t>(rest.size());
        ASSERT_EQ(std::vector<std::size_t>(begin, all.end()), rest) << prompt << " " << most;
        ASSERT_EQ(static_cast<std::size_t>(begin - all.begin()) * pieces.whole(), reused);
      }
    }
  }
}

}  // namespace
}  // namespace brimful::schedule
