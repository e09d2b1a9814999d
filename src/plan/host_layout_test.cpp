#include "plan/host_layout.h"

#include <gtest/gtest.h>

namespace brimful::plan {
namespace {

model::ModelProfile model_of(std::initializer_list<ggml_type> types) {
  model::ModelProfile out;
  for (const ggml_type type : types) {
    model::TensorInfo tensor;
    tensor.type = type;
    tensor.shape = {256, 64, 1, 1};
    out.tensors.push_back(tensor);
  }
  return out;
}

hardware::Compute machine(double decode, double in_file_order, double turned_back, int threads = 8) {
  hardware::KernelRate rate{.type = "q4_K", .decode_bytes_per_s = decode};
  rate.file_order_decode_bytes_per_s = in_file_order;
  rate.turn_back_bytes_per_s = turned_back;
  return {.threads = threads, .kernels = {rate}};
}

bool keeps_file_order(const hardware::Compute& compute, double link) {
  const HostLayout layout = host_layout(model_of({GGML_TYPE_Q4_K}), compute, link);
  EXPECT_EQ(layout.notes.size(), layout.in_file_order.size());
  return layout.in_file_order == std::vector{GGML_TYPE_Q4_K};
}

TEST(HostLayout, IsTheFasterOneWhereTurningBackKeepsUpWithTheLink) {
  EXPECT_FALSE(keeps_file_order(machine(45e9, 28e9, 8e9), 25e9));
}

TEST(HostLayout, IsTheFilesWhereTheOtherOneSavesNothing) {
  EXPECT_TRUE(keeps_file_order(machine(45e9, 45e9, 8e9), 25e9));
  EXPECT_TRUE(keeps_file_order(machine(45e9, 44e9, 8e9), 25e9)) << "as large as an error of measurement";
  EXPECT_TRUE(keeps_file_order(machine(40e9, 45e9, 8e9), 25e9));
}

// Two cores: one thread turns back 4 GB/s, where the link sends 25. A byte of a batch takes 0.21 ns longer,
// and a byte of a decode pass saves 0.0135 ns or 0.36 ns.
TEST(HostLayout, IsTheFilesWhereBatchesLoseMoreThanTokensSave) {
  EXPECT_TRUE(keeps_file_order(machine(45e9, 28e9, 4e9, 2), 25e9));
  EXPECT_FALSE(keeps_file_order(machine(5e9, 1.8e9, 4e9, 2), 25e9));
  EXPECT_FALSE(keeps_file_order(machine(45e9, 28e9, 4e9, 2), 4e9)) << "so slow a link waits for nothing";
}

TEST(HostLayout, IsTheFasterOneWhereNothingWasMeasured) {
  hardware::Compute compute = machine(45e9, 45e9, 8e9);
  compute.kernels.front().turn_back_bytes_per_s = {};
  EXPECT_FALSE(keeps_file_order(compute, 25e9));
  compute.kernels.clear();
  EXPECT_FALSE(keeps_file_order(compute, 25e9));
}

TEST(HostLayout, AsManyThreadsTurnBackAsTheLinkNeeds) {
  EXPECT_EQ(turning_threads(8e9, 25e9, 16), 4);
  EXPECT_EQ(turning_threads(8e9, 15e9, 16), 2);
  EXPECT_EQ(turning_threads(8e9, 1e9, 16), 1);
  EXPECT_EQ(turning_threads(8e9, 100e9, 16), kMostTurningThreads);
  EXPECT_EQ(turning_threads(8e9, 25e9, 3), 2) << "one core sends";
  EXPECT_EQ(turning_threads(8e9, 25e9, 1), 1);
}

TEST(HostLayout, OfAllTypesIsThatOfMatrices) {
  model::ModelProfile profile = model_of({GGML_TYPE_Q4_K, GGML_TYPE_F32, GGML_TYPE_Q4_K});
  profile.tensors[1].shape = {256, 1, 1, 1};
  EXPECT_EQ(all_in_file_order(profile).in_file_order, std::vector{GGML_TYPE_Q4_K});
}

}  // namespace
}  // namespace brimful::plan
