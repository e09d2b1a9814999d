// When experts are read: as a step needs them, in any order, and ahead of the next step. Nothing of that
// changes a token.

#include <gtest/gtest.h>

#include <random>

#include "synth_model.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr std::size_t kPrompt = 5;
constexpr int kSteps = 40;

/// Ends reads in random order, and tells only now and then that one has ended: every order in which experts
/// can arrive is met.
class ShufflingReader final : public tier::DiskReader {
 public:
  explicit ShufflingReader(std::unique_ptr<DiskReader> inner) : inner_(std::move(inner)) {}

  void submit(const tier::BlockRead& read) override { inner_->submit(read); }
  tier::BlockDone wait() override {
    while (inner_->in_flight() > 0) ended_.push_back(inner_->wait());
    std::swap(ended_[random_() % ended_.size()], ended_.back());
    tier::BlockDone done = std::move(ended_.back());
    ended_.pop_back();
    return done;
  }
  [[nodiscard]] bool has_ended() const override { return random_() % 2 == 0; }
  [[nodiscard]] std::size_t in_flight() const override { return inner_->in_flight() + ended_.size(); }
  [[nodiscard]] std::size_t depth() const override { return inner_->depth(); }
  [[nodiscard]] std::string_view name() const override { return "shuffling"; }

 private:
  std::unique_ptr<DiskReader> inner_;
  std::vector<tier::BlockDone> ended_;
  mutable std::minstd_rand random_{1};
};

/// Ends each read before anybody asks: an infinitely fast disk.
class InstantReader final : public tier::DiskReader {
 public:
  explicit InstantReader(std::unique_ptr<DiskReader> inner) : inner_(std::move(inner)) {}

  void submit(const tier::BlockRead& read) override {
    inner_->submit(read);
    ended_.push_back(inner_->wait());
  }
  tier::BlockDone wait() override {
    tier::BlockDone done = std::move(ended_.back());
    ended_.pop_back();
    return done;
  }
  [[nodiscard]] bool has_ended() const override { return true; }
  [[nodiscard]] std::size_t in_flight() const override { return ended_.size(); }
  [[nodiscard]] std::size_t depth() const override { return inner_->depth(); }
  [[nodiscard]] std::string_view name() const override { return "instant"; }

 private:
  std::unique_ptr<DiskReader> inner_;
  std::vector<tier::BlockDone> ended_;
};

template <typename Reader>
Result<std::unique_ptr<tier::DiskReader>> make(const tier::DiskFiles& files, std::size_t depth) {
  BRIMFUL_TRY(auto inner, tier::make_reader(files, tier::ReaderKind::kAuto, depth));
  return std::make_unique<Reader>(std::move(inner));
}

struct Shape {
  const char* like;
  const char* type;
  float carry = 1;
};

std::string name_of(const testing::TestParamInfo<Shape>& shape) {
  return test_name({shape.param.like, shape.index}) + "_" + shape.param.type;
}

class ExpertReads : public testing::TestWithParam<Shape> {};

TEST_P(ExpertReads, InAnyOrderGiveTheSameTokens) {
  const TemporaryDirectory directory;
  const Shape shape = GetParam();
  const auto path = synth_model(directory, {.like = shape.like, .type = shape.type, .carry = shape.carry});
  ASSERT_FALSE(path.empty());
  const Settings settings{.context = 256, .ubatch = 64};
  const PlainModel plain(path, settings);
  const std::vector<llama_token> prompt = some_tokens(plain.context(), kPrompt);
  const Trace expected = trace(plain.context(), prompt, kSteps);
  ASSERT_EQ(expected.tokens.size(), kSteps + 1U);
  for (const unsigned percent : {75, 50, 25, 0}) {
    SCOPED_TRACE(testing::Message() << percent << "% of the weights in memory");
    const auto tiered = TieredModel::load(path, settings, percent_of_weights(percent), make<ShufflingReader>);
    ASSERT_TRUE(tiered) << tiered.error().message;
    EXPECT_TRUE(trace((*tiered)->context(), prompt, kSteps) == expected);
    const tier::ExpertStatistics experts = (*tiered)->device().statistics().experts;
    EXPECT_LT(experts.hits, experts.used);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ExpertReads,
                         testing::Values(Shape{"mixtral", "Q4_K"}, Shape{"qwen3moe", "Q4_K", 4},
                                         Shape{"qwen3moe", "Q6_K"}, Shape{"qwen3moe", "MXFP4"},
                                         Shape{"gpt-oss", "Q4_K"}, Shape{"deepseek2", "Q4_K"},
                                         Shape{"glm4moe", "IQ3_S"}),
                         name_of);

/// What a model with that much carried from layer to layer reads ahead while it writes a text. The tokens are
/// compared with plain llama.cpp's.
tier::ExpertStatistics guesses_of(float carry) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K", .layers = 8, .carry = carry});
  EXPECT_FALSE(path.empty());
  const Settings settings{.context = 256, .ubatch = 64, .threads = 1};
  const PlainModel plain(path, settings);
  const std::vector<llama_token> prompt = some_tokens(plain.context(), kPrompt);
  const auto tiered = TieredModel::load(path, settings, percent_of_weights(50), make<InstantReader>);
  EXPECT_TRUE(tiered) << tiered.error().message;
  if (!tiered) return {};
  const tier::ExpertStatistics before = (*tiered)->device().statistics().experts;
  EXPECT_TRUE(trace((*tiered)->context(), prompt, 100) == trace(plain.context(), prompt, 100));
  return (*tiered)->device().statistics().experts.since(before);
}

/// Wrong guesses cost at most a twentieth of what steps missed.
void expect_little_waste(const tier::ExpertStatistics& experts) {
  EXPECT_LE(experts.wasted.value, experts.missed.value / 20);
}

TEST(ExpertGuesses, ReadMostAheadWhereTheyAreRight) {
  const tier::ExpertStatistics experts = guesses_of(20);
  EXPECT_GT(experts.right_guesses * 10, experts.guesses * 9);
  EXPECT_GT(experts.prefetched * 2, experts.guesses);
  expect_little_waste(experts);
}

TEST(ExpertGuesses, ReadLittleAheadWhereHalfOfThemAreWrong) {
  const tier::ExpertStatistics experts = guesses_of(0.05F);
  EXPECT_GT(experts.guesses, 500U) << "all are watched";
  EXPECT_LT(experts.right_guesses * 3, experts.guesses * 2);
  EXPECT_LT(experts.prefetched * 2, experts.guesses);
  expect_little_waste(experts);
}

// What was used before is in slots when the next start begins, and changes no token.
TEST(ExpertHeat, MakesTheNextStartWarm) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K", .router = "skewed"});
  ASSERT_FALSE(path.empty());
  const Settings settings{.context = 256, .ubatch = 64, .threads = 1};
  const PlainModel plain(path, settings);
  const std::vector<llama_token> prompt = some_tokens(plain.context(), kPrompt);
  const Trace expected = trace(plain.context(), prompt, kSteps);
  const auto hits_with = [&](const tier::ExpertHeat& heat, tier::ExpertHeat* after) -> std::uint64_t {
    const auto tiered = TieredModel::load(path, settings, percent_of_weights(40), make<InstantReader>);
    EXPECT_TRUE(tiered) << tiered.error().message;
    if (!tiered) return 0;
    tier::HostDevice& device = (*tiered)->device();
    EXPECT_TRUE(device.displace());
    device.set_expert_heat(heat);
    EXPECT_TRUE(device.place((*tiered)->placement(), {}));
    EXPECT_TRUE(trace((*tiered)->context(), prompt, kSteps) == expected);
    if (after != nullptr) *after = device.expert_heat();
    return device.statistics().experts.hits;
  };
  tier::ExpertHeat heat;
  const std::uint64_t cold = hits_with({}, &heat);
  ASSERT_FALSE(heat.empty());
  const std::uint64_t warm = hits_with(heat, nullptr);
  EXPECT_GT(warm, cold + cold / 20);
  EXPECT_EQ(hits_with({{"blk.0.ffn_gate_exps.weight", {1, 2, 3}}, {"nonsense", {7}}}, nullptr), cold)
      << "what does not fit the model is not used";
}

}  // namespace
}  // namespace brimful::tests
