// Many requests in one context: each gets what it would get, whoever else is there.

#include "batch/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <random>

#include "synth_model.h"
#include "tiered_model.h"

namespace strata::tests {
namespace {

using batch::Answer;
using batch::Executor;
using batch::Priority;
using batch::Request;
using engine::StopReason;

/// Fails one completion in so many, once it is told to.
class FlakyReader final : public tier::DiskReader {
 public:
  FlakyReader(std::unique_ptr<DiskReader> inner, std::atomic<int>& one_in)
      : inner_(std::move(inner)), one_in_(one_in) {}
  void submit(const tier::BlockRead& read) override { inner_->submit(read); }
  tier::BlockDone wait() override {
    tier::BlockDone done = inner_->wait();
    if (const int n = one_in_; n > 0 && ++count_ % n == 0) done.status = fail(ErrorCode::kIo, "injected");
    return done;
  }
  [[nodiscard]] std::size_t in_flight() const override { return inner_->in_flight(); }
  [[nodiscard]] std::size_t depth() const override { return inner_->depth(); }
  [[nodiscard]] std::string_view name() const override { return "flaky"; }

 private:
  std::unique_ptr<DiskReader> inner_;
  std::atomic<int>& one_in_;
  int count_ = 0;
};

struct Shape {
  std::uint32_t context = 1024;
  std::uint32_t sequences = 8;
  std::uint32_t ubatch = 64;
  std::optional<Bytes> for_weights = {};
  std::size_t most_running = SIZE_MAX;
};

/// An engine with a shared context, and what came out of it.
class Requests {
 public:
  Requests(const std::filesystem::path& path, Shape shape) {
    const auto make_reader = [this](const tier::DiskFiles& files,
                                    std::size_t depth) -> Result<std::unique_ptr<tier::DiskReader>> {
      STRATA_TRY(auto inner, tier::make_reader(files, tier::ReaderKind::kAuto, depth));
      return std::make_unique<FlakyReader>(std::move(inner), fails_one_in_);
    };
    auto opened = engine::Engine::open(
        {.model = path, .ram = kGiB, .threads = 1, .threads_batch = 1, .make_reader = make_reader});
    EXPECT_TRUE(opened) << opened.error().message;
    engine_ = std::move(*opened);
    const Status prepared = engine_->prepare({.context = shape.context,
                                              .ubatch = shape.ubatch,
                                              .sequences = shape.sequences,
                                              .shared_cells = true,
                                              .embeddings = true,
                                              .type_k = GGML_TYPE_F32,
                                              .type_v = GGML_TYPE_F32,
                                              .flash_attention = LLAMA_FLASH_ATTN_TYPE_DISABLED,
                                              .for_weights = shape.for_weights});
    EXPECT_TRUE(prepared) << prepared.error().message;
    EXPECT_TRUE(engine_->start({}));
    executor_ = std::make_unique<Executor>(*engine_, shape.most_running);
  }

  Executor::Id submit(std::vector<llama_token> prompt, int limit, Priority priority = Priority::kBatch,
                      const std::function<void(Request&)>& change = {}) {
    Request request{.prompt = std::move(prompt), .limit = limit, .show_special = true, .priority = priority};
    request.sampling.temp = 0;
    request.sampling.ignore_eos = true;
    if (change) change(request);
    const std::size_t index = answers_.size();
    answers_.emplace_back();
    texts_.emplace_back();
    const auto id = executor_->submit(std::move(request), {.on_text =
                                                               [this, index](std::string_view text) {
                                                                 texts_[index] += text;
                                                                 return true;
                                                               },
                                                           .on_end =
                                                               [this, index](Result<Answer> answer) {
                                                                 EXPECT_FALSE(answers_[index])
                                                                     << "it ended once";
                                                                 answers_[index] = std::move(answer);
                                                                 order_.push_back(index);
                                                               }});
    EXPECT_TRUE(id) << id.error().message;
    return id.value_or(0);
  }

  void run() {
    for (Result<bool> more = true; *more;) {
      more = executor_->step();
      ASSERT_TRUE(more) << more.error().message;
    }
    EXPECT_EQ(executor_->running() + executor_->waiting(), 0U);
  }

  void fail_one_read_in(int count) { fails_one_in_ = count; }
  [[nodiscard]] const Result<Answer>& result(std::size_t index) const { return *answers_.at(index); }
  [[nodiscard]] const Answer& answer(std::size_t index) const { return *result(index); }
  [[nodiscard]] const std::vector<llama_token>& tokens(std::size_t index) const {
    return answer(index).token_ids;
  }
  [[nodiscard]] const std::string& text(std::size_t index) const { return texts_.at(index); }
  [[nodiscard]] const std::vector<std::size_t>& order() const { return order_; }
  Executor& executor() { return *executor_; }
  engine::Engine& engine() { return *engine_; }

 private:
  std::atomic<int> fails_one_in_ = 0;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Executor> executor_;
  std::vector<std::optional<Result<Answer>>> answers_;
  std::vector<std::string> texts_;
  std::vector<std::size_t> order_;
};

std::vector<llama_token> prompt_of(std::size_t length, std::uint32_t seed, std::int32_t vocabulary) {
  std::mt19937 random(seed);
  std::vector<llama_token> out;
  for (std::size_t i = 0; i < length; ++i)
    out.push_back(static_cast<llama_token>(random() % static_cast<std::uint32_t>(vocabulary)));
  return out;
}

std::vector<llama_token> both(std::vector<llama_token> first, const std::vector<llama_token>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

struct Wanted {
  std::vector<llama_token> prompt;
  int limit;
};

/// Of different lengths; every third one begins alike.
std::vector<Wanted> some_requests(std::size_t count, std::int32_t vocabulary) {
  const auto beginning = prompt_of(70, 1, vocabulary);
  std::vector<Wanted> out;
  for (std::size_t i = 0; i < count; ++i) {
    auto own = prompt_of(3 + i * 17 % 90, static_cast<std::uint32_t>(i + 2), vocabulary);
    out.push_back({i % 3 == 0 ? both(beginning, own) : std::move(own), static_cast<int>(3 + i * 7 % 40)});
  }
  return out;
}

/// By how much plain llama.cpp would rather have written another token, at most: 0 where each one is its own
/// first choice. Kernels sum in another order for several columns, so that it may be a little more: little
/// enough to be told from an error only where nothing is rounded to 16 bits.
float worst_choice(llama_context* plain, const std::vector<llama_token>& prompt,
                   const std::vector<llama_token>& written) {
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(plain)));
  llama_memory_clear(llama_get_memory(plain), true);
  float worst = 0;
  std::vector<llama_token> next = prompt;
  for (const llama_token token : written) {
    if (llama_decode(plain, llama_batch_get_one(next.data(), static_cast<std::int32_t>(next.size()))) != 0)
      return INFINITY;
    const std::span logits(llama_get_logits_ith(plain, -1), static_cast<std::size_t>(vocabulary));
    const auto [least, most] = std::ranges::minmax(logits);
    worst = std::max(worst, (most - logits[static_cast<std::size_t>(token)]) / (most - least));
    next = {token};
  }
  return worst;
}

constexpr float kRounding = 1e-4F;  // of the range of logits

std::int32_t vocabulary_of(const std::filesystem::path& path) {
  return static_cast<std::int32_t>(model::read_model(path)->vocabulary);
}

/// Each writes what it would have written alone.
void expect_right(const std::filesystem::path& path, const std::vector<Wanted>& wanted,
                  const Requests& requests) {
  const PlainModel plain(path, {.context = 1024,
                                .ubatch = 64,
                                .threads = 1,
                                .flash_attention = LLAMA_FLASH_ATTN_TYPE_DISABLED,
                                .cache_type = GGML_TYPE_F32});
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "request " << i);
    EXPECT_EQ(requests.tokens(i).size(), static_cast<std::size_t>(wanted[i].limit));
    EXPECT_EQ(requests.answer(i).reason, StopReason::kLimit);
    EXPECT_LE(worst_choice(plain.context(), wanted[i].prompt, requests.tokens(i)), kRounding);
  }
}

void expect_answers(const std::filesystem::path& path, Shape shape, std::size_t count) {
  const std::vector<Wanted> wanted = some_requests(count, vocabulary_of(path));
  Requests requests(path, shape);
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.run();
  expect_right(path, wanted, requests);
  requests.executor().put_aside();
  EXPECT_EQ(requests.executor().free_cells(), shape.context) << "and nothing is left behind";
}

class ExecutorOf : public testing::TestWithParam<const char*> {};

TEST_P(ExecutorOf, EachGetsWhatItWouldGetAlone) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = GetParam(), .type = "F32"});
  ASSERT_FALSE(path.empty());
  expect_answers(path, {}, 12);
}

INSTANTIATE_TEST_SUITE_P(All, ExecutorOf,
                         testing::Values("llama-tiny", "gemma3", "mixtral", "deepseek2", "mamba2",
                                         "falcon-h1"),
                         test_name);

/// With the trained model of the demo.
class BatchExecutor : public testing::Test {
 protected:
  void SetUp() override {
    if (path_.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
    vocabulary_ = vocabulary_of(path_);
  }

  const std::filesystem::path path_ = stories15m();
  std::int32_t vocabulary_ = 0;
};

TEST_F(BatchExecutor, StoriesInOnePass) { expect_answers(path_, {.context = 2048, .sequences = 16}, 20); }

/// So few cells that sequences have to be put aside under way. Tokens of prompts that were computed.
std::uint64_t expect_right_where_some_are_parked(const std::filesystem::path& path, std::int32_t vocabulary) {
  std::vector<Wanted> wanted;
  for (std::uint32_t i = 0; i < 6; ++i) wanted.push_back({prompt_of(20, i + 5, vocabulary), 100});
  Requests requests(path, {.context = 256, .sequences = 6});
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.run();
  expect_right(path, wanted, requests);
  EXPECT_GT(requests.executor().statistics().parked, 0U);
  EXPECT_EQ(requests.executor().free_cells(), 256U);
  return requests.executor().statistics().prompt_tokens;
}

TEST_F(BatchExecutor, WhoIsParkedGoesOnAsIfNothingHadBeen) {
  EXPECT_EQ(expect_right_where_some_are_parked(path_, vocabulary_), 6U * 20);
}

TEST_F(BatchExecutor, WhoCannotBeSavedIsComputedAgain) {
  ::setenv("TMPDIR", "/no/such/folder", 1);
  EXPECT_GT(expect_right_where_some_are_parked(path_, vocabulary_), 6U * 20);
  ::unsetenv("TMPDIR");
}

TEST_F(BatchExecutor, CommonPrefixesAreComputedOnce) {
  const auto system = prompt_of(300, 1, vocabulary_);
  std::vector<Wanted> wanted;
  for (std::uint32_t i = 0; i < 10; ++i)
    wanted.push_back({both(system, prompt_of(10, i + 5, vocabulary_)), 5});
  Requests requests(path_, {.context = 512, .sequences = 6});
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.run();
  expect_right(path_, wanted, requests);
  EXPECT_EQ(requests.executor().statistics().prompt_tokens, 300U + 10 * 10);
  EXPECT_EQ(requests.executor().statistics().shared_tokens, 9U * 300);
}

TEST_F(BatchExecutor, APrefixAndAPromptThatFillTheContextTogether) {
  const auto system = prompt_of(100, 1, vocabulary_);
  std::vector<Wanted> wanted;
  for (std::uint32_t i = 0; i < 4; ++i)
    wanted.push_back({both(system, prompt_of(150, i + 5, vocabulary_)), 6});
  for (std::uint32_t i = 0; i < 2; ++i) wanted.push_back({prompt_of(240, i + 50, vocabulary_), 10});
  Requests requests(path_, {.context = 256, .sequences = 4});
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.run();
  expect_right(path_, wanted, requests);
  EXPECT_EQ(requests.executor().statistics().shared_tokens, 300U);
  EXPECT_EQ(requests.executor().free_cells(), 256U);
}

/// Each question comes when the one before it has been answered, and holds all that was said.
TEST_F(BatchExecutor, AConversationGoesOnWhereItWas) {
  Requests requests(path_, {.context = 1024, .sequences = 4});
  std::vector<Wanted> wanted;
  std::vector<llama_token> said = prompt_of(100, 1, vocabulary_);
  std::uint64_t computed = 100;
  for (std::uint32_t turn = 0; turn < 4; ++turn) {
    wanted.push_back({said, 20});
    requests.submit(said, 20, Priority::kInteractive);
    requests.submit(prompt_of(40, turn + 90, vocabulary_), 3, Priority::kInteractive);  // another one's
    requests.run();
    said = both(said, both(requests.tokens(2 * turn), prompt_of(10, turn + 50, vocabulary_)));
    const auto& statistics = requests.executor().statistics();
    EXPECT_EQ(statistics.prompt_tokens, computed + 40 * (turn + 1));
    EXPECT_EQ(requests.answer(2 * turn).prompt_shared, turn == 0 ? 0 : wanted.back().prompt.size() - 11);
    computed += 11;  // the last token that was written, and the new ones
  }
  const PlainModel plain(path_, {.context = 1024,
                                 .ubatch = 64,
                                 .threads = 1,
                                 .flash_attention = LLAMA_FLASH_ATTN_TYPE_DISABLED,
                                 .cache_type = GGML_TYPE_F32});
  for (std::size_t i = 0; i < wanted.size(); ++i)
    EXPECT_LE(worst_choice(plain.context(), wanted[i].prompt, requests.tokens(2 * i)), kRounding);
  EXPECT_LT(requests.executor().free_cells(), 1024U);
  requests.executor().put_aside();
  EXPECT_EQ(requests.executor().free_cells(), 1024U) << "no cell is lost, and none counted twice";
}

/// What begins like a text that is there, and goes on otherwise; also while that one is still written.
TEST_F(BatchExecutor, APartOfATextIsShared) {
  const auto beginning = prompt_of(150, 1, vocabulary_);
  std::vector<Wanted> wanted;
  for (std::uint32_t i = 0; i < 3; ++i)
    wanted.push_back({both(beginning, prompt_of(20, i + 5, vocabulary_)), 40});
  wanted.push_back(
      {both(std::vector(beginning.begin(), beginning.begin() + 60), prompt_of(30, 9, vocabulary_)), 8});
  Requests requests(path_, {.context = 1024, .sequences = 6});
  requests.submit(wanted[0].prompt, 40, Priority::kInteractive);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(requests.executor().step());
  requests.submit(wanted[1].prompt, 40, Priority::kInteractive);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(requests.executor().step());
  EXPECT_EQ(requests.executor().running(), 2U);
  requests.submit(wanted[2].prompt, 40, Priority::kBatch);
  requests.run();
  requests.submit(wanted[3].prompt, 8, Priority::kInteractive);
  requests.run();
  expect_right(path_, wanted, requests);
  EXPECT_EQ(requests.answer(1).prompt_shared, 150U);
  EXPECT_EQ(requests.answer(2).prompt_shared, 150U);
  EXPECT_EQ(requests.answer(3).prompt_shared, 60U);
  requests.executor().put_aside();
  EXPECT_EQ(requests.executor().free_cells(), 1024U);
}

/// Many conversations, with room for few of them: the oldest are forgotten, none goes wrong.
TEST_F(BatchExecutor, ConversationsMakeRoomForOneAnother) {
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
  requests.executor().put_aside();
  EXPECT_EQ(requests.executor().free_cells(), 512U);
}

/// It needs the cells of all of its prompt when it comes back, not of what was computed of it.
TEST_F(BatchExecutor, WhoIsParkedInTheMiddleOfItsPromptHasRoomForTheRest) {
  std::vector<Wanted> wanted{{prompt_of(100, 1, vocabulary_), 20},
                             {prompt_of(300, 2, vocabulary_), 10},
                             {prompt_of(30, 3, vocabulary_), 5},
                             {prompt_of(200, 4, vocabulary_), 10}};
  Requests requests(path_, {.context = 512, .sequences = 4, .ubatch = 64});
  requests.submit(wanted[0].prompt, 20);
  requests.submit(wanted[1].prompt, 10);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(requests.executor().step());
  requests.executor().put_aside();  // as for a change of budgets
  requests.submit(wanted[2].prompt, 5, Priority::kInteractive);
  requests.submit(wanted[3].prompt, 10);
  requests.run();
  expect_right(path_, wanted, requests);
  EXPECT_GT(requests.answer(1).parked, 0U);
}

TEST_F(BatchExecutor, InteractiveRequestsGoFirstAndBatchOnesAreNotLost) {
  Requests requests(path_, {.context = 256, .sequences = 2});
  for (std::uint32_t i = 0; i < 4; ++i) requests.submit(prompt_of(30, i + 5, vocabulary_), 60);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(requests.executor().step());
  requests.submit(prompt_of(30, 50, vocabulary_), 5, Priority::kInteractive);
  requests.run();
  EXPECT_EQ(requests.order().front(), 4U);
  EXPECT_EQ(requests.order().size(), 5U);
  EXPECT_GT(requests.answer(1).parked, 0U);
}

TEST_F(BatchExecutor, ALongPromptKeepsNoOneWaitingForMoreThanAPass) {
  Requests requests(path_, {.context = 1024, .sequences = 4, .ubatch = 32});
  requests.submit(prompt_of(5, 1, vocabulary_), 40);
  ASSERT_TRUE(requests.executor().step());
  requests.submit(prompt_of(600, 2, vocabulary_), 2);
  const auto written = requests.executor().statistics().tokens;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(requests.executor().step());
  EXPECT_EQ(requests.executor().statistics().tokens, written + 10) << "one in each pass";
  requests.run();
}

TEST_F(BatchExecutor, APassThatFailsIsTakenAgainAndNothingIsLost) {
  const std::vector<Wanted> wanted = some_requests(10, vocabulary_);
  Requests requests(path_, {.sequences = 4, .for_weights = kMiB * 30});
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.fail_one_read_in(150);
  int failed = 0;
  for (bool more = true; more;) {
    const auto step = requests.executor().step();
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

/// Of a recurrent state nothing can be taken back: such texts begin again.
TEST(ExecutorOfRecurrent, APassThatFailsIsTakenAgainAndNothingIsLost) {
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
    const auto step = requests.executor().step();
    if (!step) {
      EXPECT_EQ(step.error().code, ErrorCode::kIo) << step.error().message;
      ASSERT_LT(++failed, 2000);
      continue;
    }
    more = *step;
  }
  EXPECT_GT(failed, 0);
  expect_right(path, wanted, requests);
  requests.executor().put_aside();
  EXPECT_EQ(requests.executor().free_cells(), 1024U);
}

TEST_F(BatchExecutor, NoMoreRunAtOnceThanItWasTold) {
  const std::vector<Wanted> wanted = some_requests(12, vocabulary_);
  Requests requests(path_, {.sequences = 8, .most_running = 3});
  for (const auto& [prompt, limit] : wanted) requests.submit(prompt, limit);
  requests.submit({1, 2, 3}, 1, Priority::kInteractive);
  requests.run();
  EXPECT_EQ(requests.executor().statistics().most_sequences, 3U);
  EXPECT_EQ(requests.order().front(), 12U);
}

TEST_F(BatchExecutor, EndsForEachReason) {
  Requests requests(path_, {.context = 256, .sequences = 8});
  requests.submit({1}, -1, Priority::kBatch, [](Request& request) { request.sampling.ignore_eos = false; });
  requests.submit(prompt_of(250, 3, vocabulary_), -1);
  const Executor::Id gone = requests.submit(prompt_of(10, 4, vocabulary_), 100);
  requests.submit(prompt_of(4, 5, vocabulary_), 10, Priority::kBatch, [](Request& request) {
    request.sampling.grammar = {COMMON_GRAMMAR_TYPE_USER, "root ::= ("};
  });
  EXPECT_FALSE(requests.executor().submit({.prompt = {}}, {}));
  EXPECT_FALSE(requests.executor().submit({.prompt = std::vector<llama_token>(257, 1)}, {}));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(requests.executor().step());
  requests.executor().cancel(gone);
  requests.executor().cancel(gone);
  requests.run();
  EXPECT_EQ(requests.answer(1).reason, StopReason::kContextFull);
  EXPECT_EQ(requests.answer(1).token_ids.size(), 7U) << "the last one is not computed";
  EXPECT_EQ(requests.answer(2).reason, StopReason::kCancelled);
  ASSERT_FALSE(requests.result(3)) << "a grammar that does not parse";
  EXPECT_EQ(requests.result(3).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(requests.executor().free_cells(), 256U);
}

// --- Vectors ---

void expect_alike(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  double product = 0;
  double of_a = 0;
  double of_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * b[i];
    of_a += static_cast<double>(a[i]) * a[i];
    of_b += static_cast<double>(b[i]) * b[i];
  }
  EXPECT_GT(product / std::sqrt(of_a * of_b), 1 - 1e-9);
}

class Vectors : public testing::Test {
 protected:
  /// As many as there are prompts, of plain llama.cpp, one after the other.
  static std::vector<std::vector<float>> plain(const std::filesystem::path& path,
                                               const std::vector<std::vector<llama_token>>& prompts) {
    const PlainModel model(path, {.context = 512,
                                  .threads = 1,
                                  .flash_attention = LLAMA_FLASH_ATTN_TYPE_DISABLED,
                                  .cache_type = GGML_TYPE_F32,
                                  .outputs = 512,
                                  .embeddings = true});
    std::vector<std::vector<float>> out;
    for (std::vector<llama_token> prompt : prompts) {
      llama_memory_clear(llama_get_memory(model.context()), true);
      const auto count = static_cast<std::int32_t>(prompt.size());
      EXPECT_EQ(llama_decode(model.context(), llama_batch_get_one(prompt.data(), count)), 0);
      const bool pooled = llama_pooling_type(model.context()) != LLAMA_POOLING_TYPE_NONE;
      const float* const vector = pooled ? llama_get_embeddings_seq(model.context(), 0)
                                         : llama_get_embeddings_ith(model.context(), count - 1);
      out.emplace_back(vector, vector + llama_model_n_embd_out(llama_get_model(model.context())));
    }
    return out;
  }

  static std::vector<std::vector<llama_token>> prompts(std::int32_t vocabulary) {
    std::vector<std::vector<llama_token>> out;
    for (const Wanted& wanted : some_requests(12, vocabulary)) out.push_back(wanted.prompt);
    return out;
  }

  static void ask(Requests& requests, const std::vector<std::vector<llama_token>>& prompts) {
    for (const auto& prompt : prompts)
      requests.submit(prompt, 0, Priority::kBatch, [](Request& request) { request.embed = true; });
  }
};

TEST_F(Vectors, AreThoseOfPlainLlamaCppBesideTextsThatAreWritten) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "F32"});
  const auto wanted = prompts(vocabulary_of(path));
  const auto expected = plain(path, wanted);
  std::vector<std::vector<std::vector<float>>> seen;
  for (const std::optional<Bytes> for_weights :
       {std::optional<Bytes>(), std::optional(Bytes{1400} * kKiB.value)}) {
    Requests requests(path, {.for_weights = for_weights});
    ask(requests, wanted);
    requests.submit(wanted.front(), 20);
    requests.run();
    EXPECT_EQ(requests.tokens(wanted.size()).size(), 20U);
    auto& vectors = seen.emplace_back();
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_EQ(requests.answer(i).vectors.size(), 1U);
      expect_alike(requests.answer(i).vectors.front(), expected[i]);
      vectors.push_back(requests.answer(i).vectors.front());
    }
    EXPECT_GT(requests.executor().statistics().shared_tokens, 0U);
  }
  EXPECT_EQ(seen.front(), seen.back()) << "the same bits, wherever the weights are";
}

TEST_F(Vectors, OfAModelThatOnlyEmbedsArePooledAsItsFileSays) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "bert", .type = "F32"});
  const auto wanted = prompts(vocabulary_of(path));
  Requests requests(path, {.context = 256, .sequences = 5, .ubatch = 256});
  ask(requests, wanted);
  requests.run();
  const auto expected = plain(path, wanted);
  for (std::size_t i = 0; i < wanted.size(); ++i) expect_alike(requests.answer(i).vectors.at(0), expected[i]);
  EXPECT_GT(requests.executor().statistics().most_sequences, 1U);
  EXPECT_LT(requests.executor().statistics().passes, wanted.size());
  EXPECT_EQ(requests.executor().submit({.prompt = {1, 2}}, {}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(requests.executor()
                .submit({.prompt = std::vector<llama_token>(257, 1), .embed = true}, {})
                .error()
                .code,
            ErrorCode::kInvalidArgument);
}

TEST_F(Vectors, OfRecurrentModelsAreRefused) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "mamba2", .type = "F32"});
  const auto engine = engine::Engine::open({.model = path, .ram = kGiB});
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_EQ((*engine)->can_embed().error().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace strata::tests
