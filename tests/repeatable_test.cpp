// The same request gets bit for bit the same tokens, whatever was asked before and whatever is cached. The
// tests use two threads and flash attention over more than 512 cells, where ggml's kernels sum in an order
// that depends on the number of cells in use. See docs/design-same-tokens.md.

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <random>
#include <thread>

#include "program_run.h"
#include "runtime_directory.h"
#include "scheduler_requests.h"
#include "served_program.h"

namespace brimful::tests {
namespace {

using schedule::Answer;
using schedule::Priority;
using schedule::Scheduler;

constexpr std::uint32_t kContext = 1536;
constexpr int kWritten = 10;

/// An engine with two threads, and a scheduler on it.
class Machine {
 public:
  explicit Machine(const std::filesystem::path& path,
                   Scheduler::Company company = Scheduler::Company::kTogether,
                   ggml_type cache = GGML_TYPE_F16) {
    auto opened = engine::Engine::open({.model = path, .ram = kGiB, .threads = 2, .threads_batch = 2});
    EXPECT_TRUE(opened) << opened.error().message;
    engine_ = std::move(*opened);
    const Status prepared = engine_->prepare({.context = kContext,
                                              .ubatch = 256,
                                              .sequences = 6,
                                              .shared_cells = true,
                                              .embeddings = true,
                                              .type_k = cache,
                                              .type_v = cache});
    EXPECT_TRUE(prepared) << prepared.error().message;
    EXPECT_TRUE(engine_->start({}));
    scheduler_ =
        std::make_unique<Scheduler>(*engine_, Scheduler::Options{.most_running = 4, .company = company});
  }
  [[nodiscard]] Scheduler& scheduler() { return *scheduler_; }
  [[nodiscard]] engine::Engine& engine() { return *engine_; }

  /// Submits a greedy request. Its answer is made later.
  std::shared_ptr<Answer> submit(const std::vector<llama_token>& prompt, int limit,
                                 Priority priority = Priority::kInteractive, bool repeatable = true) {
    auto out = std::make_shared<Answer>();
    schedule::Request request{.prompt = prompt,
                              .limit = limit,
                              .show_special = true,
                              .top_logprobs = 0,
                              .priority = priority,
                              .repeatable = repeatable};
    request.sampling.temp = 0;
    request.sampling.ignore_eos = true;
    const auto id =
        scheduler_->submit(std::move(request), {.on_piece = {}, .on_end = [out](Result<Answer> answer) {
                                                  EXPECT_TRUE(answer) << answer.error().message;
                                                  if (answer) *out = std::move(*answer);
                                                }});
    EXPECT_TRUE(id) << id.error().message;
    last_ = id.value_or(0);
    return out;
  }
  void cancel_last() { scheduler_->cancel(last_); }
  void steps(int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(scheduler_->step());
  }
  void run() {
    for (Result<bool> more = true; *more;) {
      more = scheduler_->step();
      ASSERT_TRUE(more) << more.error().message;
    }
  }
  /// Returns the answer to a request that runs alone.
  Answer ask(const std::vector<llama_token>& prompt, int limit = kWritten) {
    const auto answer = submit(prompt, limit);
    run();
    return *answer;
  }

 private:
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Scheduler> scheduler_;
  Scheduler::Id last_ = 0;
};

/// The bits of an answer: its tokens, and the logarithms of their probabilities.
std::vector<std::pair<llama_token, double>> bits(const Answer& answer) {
  std::vector<std::pair<llama_token, double>> out;
  for (const auto& written : answer.logprobs)
    out.emplace_back(written.written.token, written.written.logprob);
  return out;
}

/// Does one or two of the things that can happen to a server before a request.
void some_history(Machine& machine, std::mt19937& random, const std::vector<llama_token>& prompt,
                  std::int32_t vocabulary) {
  const auto other = [&](std::size_t most) {
    return prompt_of(1 + random() % most, static_cast<std::uint32_t>(random()), vocabulary);
  };
  for (std::uint32_t event = 0; event <= random() % 2; ++event) {
    switch (random() % 6) {
      case 0:  // Another client's question.
        machine.ask(other(300), 3);
        break;
      case 1:  // Several requests at once, one of which begins with the same text.
        machine.submit(other(150), 3);
        machine.submit(both({prompt.begin(), prompt.begin() + 200}, other(50)), 6);
        machine.submit(other(30), 9, Priority::kBatch);
        machine.run();
        break;
      case 2:  // A client that disconnects.
        machine.submit(both({prompt.begin(), prompt.begin() + 300}, other(100)), 30);
        machine.steps(static_cast<int>(1 + random() % 6));
        machine.cancel_last();
        machine.run();
        break;
      case 3:  // A text with the same beginning, at a temperature at which nobody could repeat it.
        machine.submit(both({prompt.begin(), prompt.begin() + 400}, other(60)), 12, Priority::kInteractive,
                       false);
        machine.run();
        break;
      case 4:  // Batch requests that are preempted for an urgent one.
        for (int i = 0; i < 4; ++i) machine.submit(other(90), 4, Priority::kBatch);
        machine.steps(3);
        machine.submit(other(100), 3);
        machine.run();
        break;
      default:  // Budgets change, or the conversation continues.
        machine.scheduler().evict();
        machine.ask(both(prompt, other(20)), 4);
    }
  }
}

class Repeatable : public testing::TestWithParam<std::tuple<const char*, ggml_type, int>> {
 protected:
  void SetUp() override {
    const auto [like, cache, times] = GetParam();
    cache_ = cache;
    times_ = times;
    const std::uint32_t layers = like == std::string("llama-tiny") ? 1 : 2;
    path_ = synth_model(directory_, {.like = like, .type = "Q4_K", .layers = layers});
    ASSERT_FALSE(path_.empty());
    vocabulary_ = vocabulary_of(path_);
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_;
  std::int32_t vocabulary_ = 0;
  ggml_type cache_ = GGML_TYPE_F16;
  int times_ = 1;
};

TEST_P(Repeatable, AfterAnyHistory) {
  const auto prompt = prompt_of(540, 1, vocabulary_);
  const auto expected = bits(Machine(path_, Scheduler::Company::kTogether, cache_).ask(prompt));
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(kWritten));
  Machine machine(path_, Scheduler::Company::kTogether, cache_);
  std::mt19937 random(7);
  int same = 0;
  for (int i = 0; i < times_; ++i) {
    if (i > 0) some_history(machine, random, prompt, vocabulary_);
    same += bits(machine.ask(prompt)) == expected ? 1 : 0;
  }
  EXPECT_EQ(same, times_);
}

INSTANTIATE_TEST_SUITE_P(
    All, Repeatable,
    testing::Values(std::tuple("llama-tiny", GGML_TYPE_F16, 100), std::tuple("llama-tiny", GGML_TYPE_Q8_0, 3),
                    std::tuple("gemma3", GGML_TYPE_F16, 2), std::tuple("deepseek2", GGML_TYPE_F16, 2),
                    std::tuple("gpt-oss", GGML_TYPE_F16, 2), std::tuple("falcon-h1", GGML_TYPE_F16, 2),
                    std::tuple("mamba2", GGML_TYPE_F16, 2)),
    [](const auto& test) {
      std::string name = std::get<0>(test.param);
      std::erase(name, '-');
      return name + (std::get<1>(test.param) == GGML_TYPE_F16 ? "" : "_q8_0");
    });

class RepeatableScheduler : public testing::Test {
 protected:
  void SetUp() override {
    path_ = synth_model(directory_, {.like = "llama-tiny", .type = "Q4_K"});
    ASSERT_FALSE(path_.empty());
    vocabulary_ = vocabulary_of(path_);
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_;
  std::int32_t vocabulary_ = 0;
};

TEST_F(RepeatableScheduler, TakesABeginningThatWasComputedAlone) {
  const auto first = prompt_of(540, 1, vocabulary_);
  Machine machine(path_);
  const Answer said = machine.ask(first);
  const auto next = both(first, both(said.token_ids, prompt_of(30, 2, vocabulary_)));
  const Answer went_on = machine.ask(next);
  EXPECT_EQ(went_on.prompt_shared, 384U) << "three pieces of 128";
  EXPECT_EQ(bits(went_on), bits(Machine(path_).ask(next)));
}

TEST_F(RepeatableScheduler, ContinuesWithTheSameBitsAfterPreemption) {
  const auto prompt = prompt_of(540, 1, vocabulary_);
  const auto expected = bits(Machine(path_).ask(prompt));
  Machine machine(path_);
  machine.ask(prompt_of(300, 3, vocabulary_), 4);
  for (const int after : {2, 6, 9}) {  // In the prompt, and in the answer.
    const auto answer = machine.submit(prompt, kWritten);
    machine.steps(after);
    machine.scheduler().evict();
    EXPECT_TRUE(
        machine.engine().change_budgets({.ram = kGiB - Bytes{static_cast<std::uint64_t>(after) << 20}}));
    machine.run();
    EXPECT_EQ(bits(*answer), expected) << after;
    EXPECT_EQ(answer->preempted, 1U);
  }
}

TEST_F(RepeatableScheduler, OneByOneCompanyChangesNothing) {
  std::vector<std::vector<llama_token>> prompts;
  for (std::uint32_t i = 0; i < 6; ++i)
    prompts.push_back(both(prompt_of(140, 1, vocabulary_), prompt_of(40 * i + 1, i + 9, vocabulary_)));
  Machine machine(path_, Scheduler::Company::kOneByOne);
  std::vector<std::shared_ptr<Answer>> together;
  for (const auto& prompt : prompts)
    together.push_back(machine.submit(prompt, kWritten, Priority::kBatch, false));
  machine.steps(4);
  const auto urgent = machine.submit(prompts.front(), 5);  // It preempts the running requests.
  machine.run();
  EXPECT_EQ(urgent->token_ids.size(), 5U);
  Machine other(path_, Scheduler::Company::kOneByOne);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    other.scheduler().evict();
    EXPECT_EQ(bits(*together[i]), bits(other.ask(prompts[i]))) << i;
  }
}

/// A server with two threads, and the things that can happen to it between two equal requests.
class RepeatableServer : public NeedsStories {
 protected:
  void SetUp() override {
    NeedsStories::SetUp();
    if (IsSkipped()) return;
    const auto chat_template = directory_.path() / "chat.jinja";
    std::ofstream(chat_template) << "{% for m in messages %}{{ m.content }} {% endfor %}";
    flags_ = {"--ram",
              kAmpleRam,
              "-t",
              "2",
              "-c",
              "2048",
              "--max-num-seqs",
              "4",
              "--chat-template-file",
              chat_template.string()};
    server_.emplace(flags_);
    short_answer_ = ask({short_}, 100);
    long_answer_ = ask({long_}, 40);
    ASSERT_FALSE(short_answer_.empty() || long_answer_.empty());
  }

  using Messages = std::vector<std::string>;
  /// Returns the answer to a chat at temperature 0. The user's message comes first.
  std::string ask(const Messages& messages, int tokens) {
    nlohmann::json body{{"max_tokens", tokens}, {"temperature", 0}, {"messages", nlohmann::json::array()}};
    for (std::size_t i = 0; i < messages.size(); ++i)
      body["messages"].push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", messages[i]}});
    const nlohmann::json answer = parsed(server_->client().Post("/v1/chat/completions", body.dump(), kJson));
    return answer.is_null() ? "" : answer["choices"][0]["message"]["content"].get<std::string>();
  }

  /// Returns the text with that number, of so many sentences of about eight tokens each.
  static std::string text(std::size_t sentences, std::size_t number = 0) {
    constexpr std::array kWho{"a dog", "a cat", "a girl", "a big bear", "a very small bird"};
    std::string out = "Once upon a time";
    for (std::size_t i = 0; i < sentences; ++i)
      out += std::string(" there was ") + kWho[(i + number) % kWho.size()] + " in the park.";
    return out;
  }

  void some_history(std::mt19937& random) {
    const std::size_t number = random() % 1000;
    switch (random() % 6) {
      case 0: ask({text(1 + random() % 80, number)}, 4); break;
      case 1:
        ask({short_, short_answer_, text(2, number)}, 8);
        break;  // The conversation continues.
      // It begins with the same text.
      case 2: ask({text(30) + " Then" + text(1 + random() % 9, number)}, 5); break;
      case 3: {  // A client that disconnects in the middle of its answer.
        HeldRequest gone(*server_);
        EXPECT_TRUE(server_->becomes("llamacpp:requests_processing", 1));
        gone.let_go();
        break;
      }
      case 4: {  // Budgets change.
        const std::string ram = std::to_string(190 + random() % 66) + "MiB";
        const ProgramRun moved =
            run_brimful({"ctl", std::to_string(server_->pid()), "--ram", kSanitized ? kAmpleRam : ram});
        EXPECT_EQ(moved.exit_code, 0) << moved.err;
        break;
      }
      // Several at once, with this request among them. Together with others, its text may be another one.
      default: {
        std::vector<std::thread> clients;
        for (std::size_t i = 0; i < 4; ++i)
          clients.emplace_back([&, i] { ask({i == 0 ? short_ : text(5 * i, number)}, 12); });
        for (std::thread& client : clients) client.join();
      }
    }
    EXPECT_TRUE(server_->becomes("llamacpp:requests_processing", 0));
  }

  /// Expects the answers of a fresh server after each of some histories. BRIMFUL_TEST_REPEATS is their
  /// number, 10 by default.
  void expect_the_same_texts() {
    const char* const wanted = std::getenv("BRIMFUL_TEST_REPEATS");
    const int times = wanted != nullptr ? std::atoi(wanted) : 10;
    std::mt19937 random(11);
    int same = 0;
    for (int i = 0; i < times; ++i) {
      some_history(random);
      const bool is_long = i % 3 == 0;
      const std::string said = is_long ? ask({long_}, 40) : ask({short_}, 100);
      EXPECT_EQ(said, is_long ? long_answer_ : short_answer_) << i;
      same += said == (is_long ? long_answer_ : short_answer_) ? 1 : 0;
    }
    std::printf("[          ] %d of %d the same\n", same, times);
  }

  const std::string short_ = text(1);
  // The attention of one token is divided among threads from 512 cells on.
  const std::string long_ = text(60);
  TemporaryDirectory directory_;
  const RuntimeDirectory runtime_;
  std::vector<std::string> flags_;
  std::optional<ServedProgram> server_;
  std::string short_answer_;
  std::string long_answer_;
};

TEST_F(RepeatableServer, GivesOneTextToTheSameRequestAfterAnyHistory) { expect_the_same_texts(); }

TEST_F(RepeatableServer, GivesThatTextWithDraftsToo) {
  for (const char* const flag : {"--spec-type", "ngram-simple", "--spec-always"}) flags_.emplace_back(flag);
  server_.reset();
  server_.emplace(flags_);
  expect_the_same_texts();
  EXPECT_GT(server_->metric("brimful:draft_tokens_accepted_total"), 0);
}

}  // namespace
}  // namespace brimful::tests
