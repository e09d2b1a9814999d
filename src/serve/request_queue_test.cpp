#include "serve/request_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace brimful::serve {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

/// A request for this many answers.
openai::ApiRequest answers(std::uint32_t count) {
  openai::ApiRequest out{.answers = count};
  out.request.prompt = {1};
  return out;
}
openai::ApiRequest embeddings(std::size_t count) {
  openai::ApiRequest out{.endpoint = openai::Endpoint::kEmbeddings};
  out.embeddings.inputs.assign(count, {1});
  return out;
}

TEST(RequestQueue, RequestsAreTakenOnceInTheirOrder) {
  RequestQueue queue(4, 60s);
  const auto first = queue.put(answers(1)).value();
  const auto second = queue.put(answers(2)).value();
  const auto taken = queue.take(0ms);
  ASSERT_EQ(taken.size(), 2U);
  EXPECT_EQ(taken[0], first);
  EXPECT_EQ(taken[1], second);
  EXPECT_TRUE(queue.take(0ms).empty());
}

TEST(RequestQueue, EachAnswerCountsUntilItsRequestHasEnded) {
  RequestQueue queue(4, 60s);
  const auto three = queue.put(answers(3)).value();
  EXPECT_EQ(queue.open(), 3U);
  const auto refused = queue.put(answers(2));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBudgetExceeded);
  EXPECT_EQ(queue.open(), 3U) << "a request that is refused does not count";
  EXPECT_TRUE(queue.put(answers(1)));
  EXPECT_FALSE(queue.put(answers(1)));
  EXPECT_EQ(queue.take(0ms).size(), 2U);
  EXPECT_FALSE(queue.put(answers(1))) << "taken is not ended";
  queue.ended(*three);
  EXPECT_EQ(queue.open(), 1U);
  EXPECT_TRUE(queue.put(answers(3)));
}

TEST(RequestQueue, EmbeddingsCountOnceHoweverMany) {
  RequestQueue queue(2, 60s);
  EXPECT_TRUE(queue.put(embeddings(2000)));
  EXPECT_EQ(queue.open(), 1U);
  EXPECT_TRUE(queue.put(embeddings(1)));
  EXPECT_FALSE(queue.put(embeddings(1)));
}

TEST(RequestQueue, MoreAnswersThanEverFitAreTheRequestsFault) {
  RequestQueue queue(4, 60s);
  const auto refused = queue.put(answers(5));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument) << "waiting would not help";
  EXPECT_THAT(refused.error().message, HasSubstr("n: 5"));
  EXPECT_TRUE(queue.put(answers(4)));
}

TEST(RequestQueue, ARequestHasItsTimeFromItsArrivalOn) {
  RequestQueue queue(4, 60s);
  const auto before = PendingResponse::Clock::now();
  const auto response = queue.put(answers(1)).value();
  EXPECT_GE(response->deadline(), before + 60s);
  EXPECT_LE(response->deadline(), PendingResponse::Clock::now() + 60s);
}

TEST(RequestQueue, AClosedQueueRefusesAndGivesWhatItHas) {
  RequestQueue queue(4, 60s);
  const auto response = queue.put(answers(1)).value();
  queue.close();
  const auto refused = queue.put(answers(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(queue.take(1h).size(), 1U);
  EXPECT_TRUE(queue.take(1h).empty()) << "it does not wait for requests that cannot come";
}

TEST(RequestQueue, ARequestEndsTheWaiting) {
  RequestQueue queue(4, 60s);
  const std::jthread client([&] { EXPECT_TRUE(queue.put(answers(1))); });
  EXPECT_EQ(queue.take(1h).size(), 1U);
}

}  // namespace
}  // namespace brimful::serve
