#include "plan/sending.h"

#include <gtest/gtest.h>

namespace strata::plan {
namespace {

/// A layer's matrix of 32e9 weights in Q8_0, 34 GB; an expert and a norm, which are not sent.
model::ModelProfile one_matrix() {
  model::ModelProfile out;
  const auto add = [&](std::int64_t columns, std::int64_t rows, model::Role role) {
    model::TensorInfo tensor;
    tensor.type = GGML_TYPE_Q8_0;
    tensor.shape = {columns, rows, 1, 1};
    tensor.layer = 0;
    tensor.role = role;
    tensor.bytes = Bytes{tensor.row_bytes().value * static_cast<std::uint64_t>(rows)};
    out.tensors.push_back(tensor);
  };
  add(32'000, 1'000'000, model::Role::kFeedForward);
  add(32'000, 5'000'000, model::Role::kExpert);
  add(32'000, 1, model::Role::kFeedForward);
  return out;
}

/// One token: 34 GB at 34 GB/s, a second. 32 tokens: 8 seconds. 512: 128 seconds.
hardware::Compute cores() { return {.kernels = {{"q8_0", 34e9, 128e9, 128e9, 34e9, 128e9, std::nullopt}}}; }

TEST(Sending, PaysFromWhereTheCoresTakeLongerThanTheLink) {
  const model::ModelProfile model = one_matrix();
  EXPECT_EQ(tokens_worth_sending(model, cores(), 34e9 / 7.99), 32);  // 31 tokens: 7.96 seconds
  EXPECT_EQ(tokens_worth_sending(model, cores(), 34e9 / 128), 512);  // 128 seconds
  EXPECT_EQ(tokens_worth_sending(model, cores(), 34e9 / 127.9), 512);
  EXPECT_EQ(tokens_worth_sending(model, cores(), 34e9 / 128.1), 513);
}

TEST(Sending, ASingleTokenIsNeverSentFor) { EXPECT_EQ(tokens_worth_sending(one_matrix(), cores(), 1e15), 2); }

TEST(Sending, OfExpertsPaysWhereTheLinkIsFasterThanTheCores) {
  EXPECT_TRUE(experts_worth_sending(one_matrix(), cores(), 34.1e9));
  EXPECT_FALSE(experts_worth_sending(one_matrix(), cores(), 33.9e9));
  EXPECT_FALSE(experts_worth_sending({}, cores(), 1e12)) << "there are none";
}

TEST(Sending, MayNeverPay) { EXPECT_EQ(tokens_worth_sending(one_matrix(), cores(), 1e6), kNever); }

TEST(Sending, AFasterLinkPaysNoLaterAndFasterCoresNoSooner) {
  const model::ModelProfile model = one_matrix();
  std::int64_t before = 0;
  for (double rate = 64e9; rate > 1e6; rate /= 1.7) {
    const std::int64_t from = tokens_worth_sending(model, cores(), rate);
    EXPECT_GE(from, before);
    hardware::Compute faster = cores();
    faster.kernels[0].batch_multiplications_per_s *= 2;
    faster.kernels[0].prompt_multiplications_per_s *= 2;
    EXPECT_GE(tokens_worth_sending(model, faster, rate), from);
    before = from;
  }
}

}  // namespace
}  // namespace strata::plan
