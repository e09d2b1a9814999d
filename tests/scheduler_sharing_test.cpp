// Common beginnings of texts are computed once.

#include "scheduler_requests.h"

namespace brimful::tests {
namespace {

using schedule::Priority;

TEST_F(BatchScheduler, CommonPrefixesAreComputedOnce) {
  const auto system = prompt_of(300, 1, vocabulary_);
  std::vector<Wanted> wanted;
  for (std::uint32_t i = 0; i < 10; ++i)
    wanted.push_back({both(system, prompt_of(10, i + 5, vocabulary_)), 5});
  Requests requests(path_, {.context = 512, .sequences = 6});
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.run();
  expect_right(path_, wanted, requests);
  EXPECT_EQ(requests.scheduler().statistics().prompt_tokens, 300U + 10 * 10);
  EXPECT_EQ(requests.scheduler().statistics().shared_tokens, 9U * 300);
}

TEST_F(BatchScheduler, APrefixAndAPromptThatFillTheContextTogether) {
  const auto system = prompt_of(100, 1, vocabulary_);
  std::vector<Wanted> wanted;
  for (std::uint32_t i = 0; i < 4; ++i)
    wanted.push_back({both(system, prompt_of(150, i + 5, vocabulary_)), 6});
  for (std::uint32_t i = 0; i < 2; ++i) wanted.push_back({prompt_of(240, i + 50, vocabulary_), 10});
  Requests requests(path_, {.context = 256, .sequences = 4});
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.run();
  expect_right(path_, wanted, requests);
  EXPECT_EQ(requests.scheduler().statistics().shared_tokens, 300U);
  EXPECT_EQ(requests.scheduler().free_cells(), 256U);
}

/// Each question comes when the one before it has been answered, and contains the whole conversation.
TEST_F(BatchScheduler, AConversationGoesOnWhereItWas) {
  Requests requests(path_, {.context = 1024, .sequences = 4});
  std::vector<Wanted> wanted;
  std::vector<llama_token> said = prompt_of(100, 1, vocabulary_);
  std::uint64_t computed = 100;
  for (std::uint32_t turn = 0; turn < 4; ++turn) {
    wanted.push_back({said, 20});
    requests.submit(said, 20, Priority::kInteractive);
    // Another client's request.
    requests.submit(prompt_of(40, turn + 90, vocabulary_), 3, Priority::kInteractive);
    requests.run();
    said = both(said, both(requests.tokens(2 * turn), prompt_of(10, turn + 50, vocabulary_)));
    const auto& statistics = requests.scheduler().statistics();
    EXPECT_EQ(statistics.prompt_tokens, computed + 40 * (turn + 1));
    EXPECT_EQ(requests.answer(2 * turn).prompt_shared, turn == 0 ? 0 : wanted.back().prompt.size() - 11);
    computed += 11;  // The last token of the answer, and the new tokens.
  }
  const PlainModel plain = plain_beside(path_);
  for (std::size_t i = 0; i < wanted.size(); ++i)
    EXPECT_LE(worst_choice(plain.context(), wanted[i].prompt, requests.tokens(2 * i)), kRounding);
  EXPECT_LT(requests.scheduler().free_cells(), 1024U);
  requests.scheduler().evict();
  EXPECT_EQ(requests.scheduler().free_cells(), 1024U) << "no cell is lost, and none counted twice";
}

/// Texts that begin like a text in the cache and continue in another way, also while that text is still
/// written.
TEST_F(BatchScheduler, APartOfATextIsShared) {
  const auto beginning = prompt_of(150, 1, vocabulary_);
  std::vector<Wanted> wanted;
  for (std::uint32_t i = 0; i < 3; ++i)
    wanted.push_back({both(beginning, prompt_of(20, i + 5, vocabulary_)), 40});
  wanted.push_back(
      {both(std::vector(beginning.begin(), beginning.begin() + 60), prompt_of(30, 9, vocabulary_)), 8});
  Requests requests(path_, {.context = 1024, .sequences = 6});
  requests.submit(wanted[0].prompt, 40, Priority::kInteractive);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(requests.scheduler().step());
  requests.submit(wanted[1].prompt, 40, Priority::kInteractive);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(requests.scheduler().step());
  EXPECT_EQ(requests.scheduler().running(), 2U);
  requests.submit(wanted[2].prompt, 40, Priority::kBatch);
  requests.run();
  requests.submit(wanted[3].prompt, 8, Priority::kInteractive);
  requests.run();
  expect_right(path_, wanted, requests);
  EXPECT_EQ(requests.answer(1).prompt_shared, 150U);
  EXPECT_EQ(requests.answer(2).prompt_shared, 150U);
  EXPECT_EQ(requests.answer(3).prompt_shared, 60U);
  requests.scheduler().evict();
  EXPECT_EQ(requests.scheduler().free_cells(), 1024U);
}

/// Many conversations with room for only a few: the oldest ones are evicted, and no answer is wrong.
TEST_F(BatchScheduler, ConversationsMakeRoomForOneAnother) {
  Requests requests(path_, {.context = 512, .sequences = 3});
  std::vector<Wanted> wanted;
  std::vector<std::vector<llama_token>> said;
  for (std::uint32_t i = 0; i < 5; ++i) said.push_back(prompt_of(60 + 20 * i, i + 1, vocabulary_));
  for (std::uint32_t turn = 0; turn < 3; ++turn) {
    for (std::size_t i = 0; i < said.size(); ++i) {
      wanted.push_back({said[i], 12});
      requests.submit(said[i], 12, Priority::kInteractive);
      if (i % 2 == 1) requests.run();
    }
    requests.run();
    for (std::size_t i = 0; i < said.size(); ++i)
      said[i] =
          both(said[i], both(requests.tokens(said.size() * turn + i), prompt_of(5, turn + 50, vocabulary_)));
  }
  expect_right(path_, wanted, requests);
  requests.scheduler().evict();
  EXPECT_EQ(requests.scheduler().free_cells(), 512U);
}

}  // namespace
}  // namespace brimful::tests
