#include "plan/sending.h"

#include <gtest/gtest.h>

namespace brimful::plan {
namespace {

/// A layer's matrix of 32e9 weights in Q8_0, 34 GB; eight experts of as many, of which two are used; a norm.
model::ModelProfile one_matrix() {
  model::ModelProfile out;
  out.experts_used = 2;
  const auto add = [&](std::int64_t columns, std::int64_t rows, model::Role role, std::int64_t experts = 1) {
    model::TensorInfo tensor;
    tensor.type = GGML_TYPE_Q8_0;
    tensor.shape = {columns, rows, experts, 1};
    tensor.layer = 0;
    tensor.role = role;
    tensor.bytes = Bytes{tensor.row_bytes().value * static_cast<std::uint64_t>(rows * experts)};
    out.tensors.push_back(tensor);
  };
  add(32'000, 1'000'000, model::Role::kFeedForward);
  add(32'000, 1'000'000, model::Role::kExpert, 8);
  add(32'000, 1, model::Role::kFeedForward);
  return out;
}

/// One token: 34 GB at 34 GB/s, a second. 32 tokens: 8 seconds. 512: 128 seconds.
hardware::Compute cores() { return {.kernels = {{"q8_0", 34e9, 128e9, 128e9, 34e9, 128e9, std::nullopt}}}; }

TEST(Sending, PaysFromWhereTheCoresTakeLongerThanTheLink) {
  const model::ModelProfile model = one_matrix();
  EXPECT_EQ(worth_sending(model, cores(), 34e9 / 7.99).from_tokens, 32);  // 31 tokens: 7.96 seconds
  EXPECT_EQ(worth_sending(model, cores(), 34e9 / 128).from_tokens, 512);  // 128 seconds
  EXPECT_EQ(worth_sending(model, cores(), 34e9 / 127.9).from_tokens, 512);
  EXPECT_EQ(worth_sending(model, cores(), 34e9 / 128.1).from_tokens, 513);
}

TEST(Sending, ASingleTokenIsNeverSentFor) {
  EXPECT_EQ(worth_sending(one_matrix(), cores(), 1e15).from_tokens, 2);
}

// Each of the experts gets a quarter of the columns; all of them are eight times as many bytes.
TEST(Sending, ExpertsAreSentForFourTimesAsManyTokens) {
  const model::ModelProfile model = one_matrix();
  EXPECT_NEAR(static_cast<double>(worth_sending(model, cores(), 34e9 / 7.99).experts_from), 32 * 4, 1);
  EXPECT_EQ(worth_sending({}, cores(), 1e12).experts_from, kNever) << "there are none";
  EXPECT_EQ(assumed_sending(model).experts_from, 32 * 4);
}

TEST(Sending, OfExpertsThatAreMissingPaysWhereTheLinkIsFasterThanTheCores) {
  EXPECT_TRUE(worth_sending(one_matrix(), cores(), 34.1e9).missing_experts);
  EXPECT_FALSE(worth_sending(one_matrix(), cores(), 33.9e9).missing_experts);
  EXPECT_FALSE(worth_sending({}, cores(), 1e12).missing_experts);
}

TEST(Sending, MayNeverPay) { EXPECT_EQ(worth_sending(one_matrix(), cores(), 1e6).from_tokens, kNever); }

TEST(Sending, AFasterLinkPaysNoLaterAndFasterCoresNoSooner) {
  const model::ModelProfile model = one_matrix();
  std::int64_t before = 0;
  for (double rate = 64e9; rate > 1e6; rate /= 1.7) {
    const std::int64_t from = worth_sending(model, cores(), rate).from_tokens;
    EXPECT_GE(from, before);
    hardware::Compute faster = cores();
    faster.kernels[0].batch_multiplications_per_s *= 2;
    faster.kernels[0].prompt_multiplications_per_s *= 2;
    EXPECT_GE(worth_sending(model, faster, rate).from_tokens, from);
    before = from;
  }
}

}  // namespace
}  // namespace brimful::plan
