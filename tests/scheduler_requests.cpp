#include "scheduler_requests.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace brimful::tests {

using engine::StopReason;
using schedule::Answer;
using schedule::Priority;
using schedule::Request;
using schedule::Scheduler;

namespace {

/// A reader that lets one of `one_in` reads fail; 0: none.
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

}  // namespace

Requests::Requests(const std::filesystem::path& path, Shape shape) {
  const auto make_reader = [this](const tier::DiskFiles& files,
                                  std::size_t depth) -> Result<std::unique_ptr<tier::DiskReader>> {
    BRIMFUL_TRY(auto inner, tier::make_reader(files, tier::ReaderKind::kAuto, depth));
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
  scheduler_ = std::make_unique<Scheduler>(*engine_, Scheduler::Options{.most_running = shape.most_running});
}

Scheduler::Id Requests::submit(std::vector<llama_token> prompt, int limit, Priority priority,
                               const std::function<void(Request&)>& change) {
  Request request{.prompt = std::move(prompt), .limit = limit, .show_special = true, .priority = priority};
  request.sampling.temp = 0;
  request.sampling.ignore_eos = true;
  if (change) change(request);
  const std::size_t index = answers_.size();
  answers_.emplace_back();
  const auto on_end = [this, index](Result<Answer> answer) {
    EXPECT_FALSE(answers_[index]) << "it ended once";
    answers_[index] = std::move(answer);
    order_.push_back(index);
  };
  const auto id = scheduler_->submit(std::move(request), {.on_piece = {}, .on_end = on_end});
  EXPECT_TRUE(id) << id.error().message;
  return id.value_or(0);
}

void Requests::run() {
  for (Result<bool> more = true; *more;) {
    more = scheduler_->step();
    ASSERT_TRUE(more) << more.error().message;
  }
  EXPECT_EQ(scheduler_->running() + scheduler_->waiting(), 0U);
}

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

std::vector<Wanted> some_requests(std::size_t count, std::int32_t vocabulary) {
  const auto beginning = prompt_of(70, 1, vocabulary);
  std::vector<Wanted> out;
  for (std::size_t i = 0; i < count; ++i) {
    auto own = prompt_of(3 + i * 17 % 90, static_cast<std::uint32_t>(i + 2), vocabulary);
    out.push_back({i % 3 == 0 ? both(beginning, own) : std::move(own), static_cast<int>(3 + i * 7 % 40)});
  }
  return out;
}

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

std::int32_t vocabulary_of(const std::filesystem::path& path) {
  return static_cast<std::int32_t>(model::read_model(path)->vocabulary);
}

PlainModel plain_beside(const std::filesystem::path& path) {
  return PlainModel(path, {.context = 1024,
                           .ubatch = 64,
                           .threads = 1,
                           .flash_attention = LLAMA_FLASH_ATTN_TYPE_DISABLED,
                           .cache_type = GGML_TYPE_F32});
}

void expect_right(const std::filesystem::path& path, const std::vector<Wanted>& wanted,
                  const Requests& requests) {
  const PlainModel plain = plain_beside(path);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "request " << i);
    EXPECT_EQ(requests.tokens(i).size(), static_cast<std::size_t>(wanted[i].limit));
    EXPECT_EQ(requests.answer(i).reason, StopReason::kLimit);
    EXPECT_LE(worst_choice(plain.context(), wanted[i].prompt, requests.tokens(i)), kRounding);
  }
}

}  // namespace brimful::tests
