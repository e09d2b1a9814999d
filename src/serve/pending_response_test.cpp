#include "serve/pending_response.h"

#include <gtest/gtest.h>

#include "serve/counted.h"

namespace brimful::serve {
namespace {

PendingResponse pending() { return {openai::ApiRequest{.answers = 2}, PendingResponse::Clock::now()}; }

TEST(PendingResponse, PiecesOfAChoiceComeTogetherUntilTheyAreTaken) {
  PendingResponse response = pending();
  EXPECT_TRUE(response.take_update().empty());
  response.add(1, {"On", {{.written = {.token = 1}}}});
  response.add(0, {"else", {}});
  response.add(1, {"ce", {{.written = {.token = 2}}, {.written = {.token = 3}}}});
  const auto update = response.take_update();
  ASSERT_EQ(update.pieces.size(), 2U);
  EXPECT_EQ(update.pieces.at(0).text, "else");
  EXPECT_EQ(update.pieces.at(1).text, "Once");
  ASSERT_EQ(update.pieces.at(1).logprobs.size(), 3U);
  EXPECT_EQ(update.pieces.at(1).logprobs[2].written.token, 3);
  EXPECT_FALSE(update.end);
  EXPECT_TRUE(response.take_update().empty()) << "they were taken";
}

TEST(PendingResponse, TheEndComesWithThePiecesBeforeIt) {
  PendingResponse response = pending();
  response.add(0, {"Once", {}});
  response.end(std::vector<schedule::Answer>(2));
  const auto update = response.take_update();
  EXPECT_EQ(update.pieces.at(0).text, "Once");
  ASSERT_TRUE(update.end);
  EXPECT_EQ((*update.end)->size(), 2U);
}

TEST(PendingResponse, AnErrorIsAnEndToo) {
  PendingResponse response = pending();
  response.end(fail(ErrorCode::kIo, "the disk"));
  const auto update = response.take_update();
  EXPECT_FALSE(update.empty());
  EXPECT_EQ(update.end->error().message, "the disk");
}

TEST(PendingResponse, TheWatcherIsWokenForEachUpdateUntilItLeaves) {
  PendingResponse response = pending();
  int woken = 0;
  response.add(0, {"before", {}});
  response.watch([&] { ++woken; });
  EXPECT_EQ(woken, 0);
  response.add(0, {"a", {}});
  response.add(0, {"b", {}});
  EXPECT_EQ(woken, 2);
  EXPECT_FALSE(response.gone());
  response.leave();
  EXPECT_TRUE(response.gone());
  response.add(0, {"c", {}});
  response.end(std::vector<schedule::Answer>());
  EXPECT_EQ(woken, 2);
}

TEST(Counted, AShareIsInTheCounterAsLongAsItLives) {
  std::atomic<std::uint64_t> all = 5;
  {
    Counted first(all, 10);
    Counted second(all);
    EXPECT_EQ(all, 15U);
    EXPECT_EQ(second.add(7), 22U);
    EXPECT_EQ(first.add(0), 22U);
  }
  EXPECT_EQ(all, 5U);
}

}  // namespace
}  // namespace brimful::serve
