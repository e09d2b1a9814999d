#include "plan/transfer_policy.h"

#include <gtest/gtest.h>

namespace brimful::plan {
namespace {

/// A layer with a matrix of 32e9 weights in Q8_0 (34 GB), eight experts of the same size, two of which a
/// token uses, and a norm.
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

/// The matrix takes these cores 1 second for one token (34 GB at 34 GB/s), 8 seconds for 32 tokens and 128
/// seconds for 512.
hardware::Compute cores() { return {.kernels = {{"q8_0", 34e9, 128e9, 128e9, 34e9, 128e9, std::nullopt}}}; }

TEST(TransferPolicy, PaysFromWhereTheCoresTakeLongerThanTheLink) {
  const model::ModelProfile model = one_matrix();
  EXPECT_EQ(measured_transfer_policy(model, cores(), 34e9 / 7.99).min_batch, 32);  // 31 tokens: 7.96 seconds
  EXPECT_EQ(measured_transfer_policy(model, cores(), 34e9 / 128).min_batch, 512);  // 128 seconds
  EXPECT_EQ(measured_transfer_policy(model, cores(), 34e9 / 127.9).min_batch, 512);
  EXPECT_EQ(measured_transfer_policy(model, cores(), 34e9 / 128.1).min_batch, 513);
}

TEST(TransferPolicy, ASingleTokenIsNeverSentFor) {
  EXPECT_EQ(measured_transfer_policy(one_matrix(), cores(), 1e15).min_batch, 2);
}

// Each of the experts gets a quarter of the columns. All experts together have eight times the bytes of the
// matrix.
TEST(TransferPolicy, ExpertsAreSentForFourTimesAsManyTokens) {
  const model::ModelProfile model = one_matrix();
  EXPECT_NEAR(static_cast<double>(measured_transfer_policy(model, cores(), 34e9 / 7.99).min_batch_of_experts),
              32 * 4, 1);
  EXPECT_EQ(measured_transfer_policy({}, cores(), 1e12).min_batch_of_experts, kNever) << "there are none";
  EXPECT_EQ(assumed_transfer_policy(model).min_batch_of_experts, 32 * 4);
}

TEST(TransferPolicy, OfExpertsThatAreMissingPaysWhereTheLinkIsFasterThanTheCores) {
  EXPECT_TRUE(measured_transfer_policy(one_matrix(), cores(), 34.1e9).missing_experts);
  EXPECT_FALSE(measured_transfer_policy(one_matrix(), cores(), 33.9e9).missing_experts);
  EXPECT_FALSE(measured_transfer_policy({}, cores(), 1e12).missing_experts);
}

// Two threads turn back a quarter of what the link sends.
TEST(TransferPolicy, CountsTheTimeToTurnWeightsBack) {
  hardware::Compute compute = cores();
  compute.threads = 3;
  compute.kernels.front().turn_back_bytes_per_s = 34e9 / 64;
  const TransferPolicy slow = measured_transfer_policy(one_matrix(), compute, 34e9 / 8);
  EXPECT_EQ(slow.turning_threads, 2);
  EXPECT_EQ(slow.min_batch, 128) << "32 seconds instead of 8";
  compute.threads = 9;
  const TransferPolicy fast = measured_transfer_policy(one_matrix(), compute, 34e9 / 32);
  EXPECT_EQ(fast.turning_threads, 2) << "that keeps up with the link";
  EXPECT_EQ(fast.min_batch, 128);
  EXPECT_EQ(measured_transfer_policy(one_matrix(), cores(), 34e9).turning_threads, 1)
      << "none is turned back";
}

// The cores are no faster with a layout that would have to be turned back, so the host keeps the file's.
TEST(TransferPolicy, TurnsNothingBackThatKeepsTheFilesLayout) {
  hardware::Compute compute = cores();
  compute.threads = 9;
  compute.kernels.front().turn_back_bytes_per_s = 34e9 / 64;
  compute.kernels.front().file_order_decode_bytes_per_s = 34e9;
  const TransferPolicy policy = measured_transfer_policy(one_matrix(), compute, 34e9 / 8);
  EXPECT_EQ(policy.turning_threads, 1);
  EXPECT_EQ(policy.min_batch, measured_transfer_policy(one_matrix(), cores(), 34e9 / 8).min_batch);
}

TEST(TransferPolicy, MayNeverPay) {
  EXPECT_EQ(measured_transfer_policy(one_matrix(), cores(), 1e6).min_batch, kNever);
}

TEST(TransferPolicy, AFasterLinkPaysNoLaterAndFasterCoresNoSooner) {
  const model::ModelProfile model = one_matrix();
  std::int64_t before = 0;
  for (double rate = 64e9; rate > 1e6; rate /= 1.7) {
    const std::int64_t from = measured_transfer_policy(model, cores(), rate).min_batch;
    EXPECT_GE(from, before);
    hardware::Compute faster = cores();
    faster.kernels[0].batch_multiplications_per_s *= 2;
    faster.kernels[0].prompt_multiplications_per_s *= 2;
    EXPECT_GE(measured_transfer_policy(model, faster, rate).min_batch, from);
    before = from;
  }
}

// A key and a value of 128 numbers are 512 bytes, and each query head multiplies 256 times with them. At
// 100e9 multiplications a second the cores get through 25e9 cells' heads of 4 bytes; the link must be twice
// as fast.
TEST(TransferPolicy, CellsCrossWhereManyHeadsShareThem) {
  hardware::Compute compute = cores();
  compute.attention.prompt_multiplications_per_s = 100e9;
  EXPECT_EQ(measured_transfer_policy(one_matrix(), compute, 25e9).min_heads_of_attention, 16);
  EXPECT_EQ(measured_transfer_policy(one_matrix(), compute, 50e9).min_heads_of_attention, 8);
  EXPECT_EQ(measured_transfer_policy(one_matrix(), compute, 1e15).min_heads_of_attention, 1);
}

}  // namespace
}  // namespace brimful::plan
