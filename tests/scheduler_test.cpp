// Many requests in one context: each gets the answer that it would get alone.

#include "scheduler_requests.h"

namespace brimful::tests {
namespace {

using engine::StopReason;
using schedule::Priority;
using schedule::Request;
using schedule::Scheduler;

void expect_answers(const std::filesystem::path& path, Shape shape, std::size_t count) {
  const std::vector<Wanted> wanted = some_requests(count, vocabulary_of(path));
  Requests requests(path, shape);
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.run();
  expect_right(path, wanted, requests);
  requests.scheduler().evict();
  EXPECT_EQ(requests.scheduler().free_cells(), shape.context) << "and nothing is left behind";
}

class SchedulerOf : public testing::TestWithParam<const char*> {};

TEST_P(SchedulerOf, EachGetsWhatItWouldGetAlone) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = GetParam(), .type = "F32"});
  ASSERT_FALSE(path.empty());
  expect_answers(path, {}, 12);
}

INSTANTIATE_TEST_SUITE_P(All, SchedulerOf,
                         testing::Values("llama-tiny", "gemma3", "mixtral", "deepseek2", "mamba2",
                                         "falcon-h1"),
                         test_name);

TEST_F(BatchScheduler, SixteenSequencesShareAContext) {
  expect_answers(path_, {.context = 2048, .sequences = 16}, 20);
}

/// Runs requests with so few cells that some sequences are preempted, and checks the answers. Returns the
/// number of prompt tokens that were computed.
std::uint64_t expect_right_where_some_are_preempted(const std::filesystem::path& path,
                                                    std::int32_t vocabulary) {
  std::vector<Wanted> wanted;
  for (std::uint32_t i = 0; i < 6; ++i) wanted.push_back({prompt_of(20, i + 5, vocabulary), 100});
  Requests requests(path, {.context = 256, .sequences = 6});
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.run();
  expect_right(path, wanted, requests);
  EXPECT_GT(requests.scheduler().statistics().preempted, 0U);
  EXPECT_EQ(requests.scheduler().free_cells(), 256U);
  return requests.scheduler().statistics().prompt_tokens;
}

TEST_F(BatchScheduler, APreemptedSequenceContinuesWithTheSameTokens) {
  EXPECT_EQ(expect_right_where_some_are_preempted(path_, vocabulary_), 6U * 20);
}

TEST_F(BatchScheduler, ASequenceThatCannotBeSavedIsComputedAgain) {
  ::setenv("TMPDIR", "/no/such/folder", 1);
  EXPECT_GT(expect_right_where_some_are_preempted(path_, vocabulary_), 6U * 20);
  ::unsetenv("TMPDIR");
}

/// When the request comes back, it needs cells for its whole prompt, and not only for the computed part.
TEST_F(BatchScheduler, ASequencePreemptedDuringPrefillHasRoomForTheRest) {
  std::vector<Wanted> wanted{{prompt_of(100, 1, vocabulary_), 20},
                             {prompt_of(300, 2, vocabulary_), 10},
                             {prompt_of(30, 3, vocabulary_), 5},
                             {prompt_of(200, 4, vocabulary_), 10}};
  Requests requests(path_, {.context = 512, .sequences = 4, .ubatch = 64});
  requests.submit(wanted[0].prompt, 20);
  requests.submit(wanted[1].prompt, 10);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(requests.scheduler().step());
  requests.scheduler().evict();  // As before a change of budgets.
  requests.submit(wanted[2].prompt, 5, Priority::kInteractive);
  requests.submit(wanted[3].prompt, 10);
  requests.run();
  expect_right(path_, wanted, requests);
  EXPECT_GT(requests.answer(1).preempted, 0U);
}

TEST_F(BatchScheduler, InteractiveRequestsGoFirstAndBatchOnesAreNotLost) {
  Requests requests(path_, {.context = 256, .sequences = 2});
  for (std::uint32_t i = 0; i < 4; ++i) requests.submit(prompt_of(30, i + 5, vocabulary_), 60);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(requests.scheduler().step());
  requests.submit(prompt_of(30, 50, vocabulary_), 5, Priority::kInteractive);
  requests.run();
  EXPECT_EQ(requests.order().front(), 4U);
  EXPECT_EQ(requests.order().size(), 5U);
  EXPECT_GT(requests.answer(1).preempted, 0U);
}

TEST_F(BatchScheduler, ALongPromptDelaysOthersByAtMostOnePass) {
  Requests requests(path_, {.context = 1024, .sequences = 4, .ubatch = 32});
  requests.submit(prompt_of(5, 1, vocabulary_), 40);
  ASSERT_TRUE(requests.scheduler().step());
  requests.submit(prompt_of(600, 2, vocabulary_), 2);
  const auto written = requests.scheduler().statistics().tokens;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(requests.scheduler().step());
  EXPECT_EQ(requests.scheduler().statistics().tokens, written + 10) << "one in each pass";
  requests.run();
}

TEST_F(BatchScheduler, APassThatFailsIsTakenAgainAndNothingIsLost) {
  const std::vector<Wanted> wanted = some_requests(10, vocabulary_);
  Requests requests(path_, {.sequences = 4, .for_weights = kMiB * 30});
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.fail_one_read_in(150);
  int failed = 0;
  for (bool more = true; more;) {
    const auto step = requests.scheduler().step();
    if (!step) {
      EXPECT_EQ(step.error().code, ErrorCode::kIo);
      ASSERT_LT(++failed, 10000);
      continue;
    }
    more = *step;
  }
  EXPECT_GT(failed, 0);
  expect_right(path_, wanted, requests);
}

/// A recurrent state cannot be rolled back, so such texts begin again.
TEST(SchedulerOfRecurrent, APassThatFailsIsTakenAgainAndNothingIsLost) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "falcon-h1", .type = "F32"});
  ASSERT_FALSE(path.empty());
  const std::vector<Wanted> wanted = some_requests(8, vocabulary_of(path));
  Requests requests(
      path, {.sequences = 6, .for_weights = Bytes{model::read_model(path)->weight_bytes().value / 2}});
  for (std::size_t i = 0; i < wanted.size(); ++i)
    requests.submit(wanted[i].prompt, wanted[i].limit,
                    i % 2 == 0 ? Priority::kInteractive : Priority::kBatch);
  requests.fail_one_read_in(700);
  int failed = 0;
  for (bool more = true; more;) {
    const auto step = requests.scheduler().step();
    if (!step) {
      EXPECT_EQ(step.error().code, ErrorCode::kIo) << step.error().message;
      ASSERT_LT(++failed, 2000);
      continue;
    }
    more = *step;
  }
  EXPECT_GT(failed, 0);
  expect_right(path, wanted, requests);
  requests.scheduler().evict();
  EXPECT_EQ(requests.scheduler().free_cells(), 1024U);
}

TEST_F(BatchScheduler, RunsNoMoreRequestsThanItsLimit) {
  const std::vector<Wanted> wanted = some_requests(12, vocabulary_);
  Requests requests(path_, {.sequences = 8, .most_running = 3});
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.submit({1, 2, 3}, 1, Priority::kInteractive);
  requests.run();
  EXPECT_EQ(requests.scheduler().statistics().most_sequences, 3U);
  EXPECT_EQ(requests.order().front(), 12U);
}

TEST_F(BatchScheduler, EndsForEachReason) {
  Requests requests(path_, {.context = 256, .sequences = 8});
  requests.submit({1}, -1, Priority::kBatch, [](Request& request) { request.sampling.ignore_eos = false; });
  requests.submit(prompt_of(250, 3, vocabulary_), -1);
  const Scheduler::Id gone = requests.submit(prompt_of(10, 4, vocabulary_), 100);
  requests.submit(prompt_of(4, 5, vocabulary_), 10, Priority::kBatch, [](Request& request) {
    request.sampling.grammar = {COMMON_GRAMMAR_TYPE_USER, "root ::= ("};
  });
  EXPECT_FALSE(requests.scheduler().submit({.prompt = {}}, {}));
  EXPECT_FALSE(requests.scheduler().submit({.prompt = std::vector<llama_token>(257, 1)}, {}));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(requests.scheduler().step());
  requests.scheduler().cancel(gone);
  requests.scheduler().cancel(gone);
  requests.run();
  EXPECT_EQ(requests.answer(1).reason, StopReason::kContextFull);
  EXPECT_EQ(requests.answer(1).token_ids.size(), 7U) << "the last one is not computed";
  EXPECT_EQ(requests.answer(2).reason, StopReason::kCancelled);
  ASSERT_FALSE(requests.result(3)) << "a grammar that does not parse";
  EXPECT_EQ(requests.result(3).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(requests.scheduler().free_cells(), 256U);
}

}  // namespace
}  // namespace brimful::tests
