#include "plan/cost_model.h"

#include <gtest/gtest.h>

namespace brimful::plan {
namespace {

TEST(Beside, TheSlowerOfTwoFinishesAlone) {
  // Alone they take 2 s and 3 s. Each keeps its full rate beside the other, so the longer time counts.
  EXPECT_DOUBLE_EQ(run_beside(2, 1, 3, 1), 3);
  EXPECT_DOUBLE_EQ(run_beside(3, 1, 2, 1), 3);
  // The second works at half its rate for 2 s and does 1 s of its work. The other 2 s follow.
  EXPECT_DOUBLE_EQ(run_beside(2, 1, 3, 0.5), 4);
  // Both work at half their rate. The first ends after 4 s, and 1 s of the second is left.
  EXPECT_DOUBLE_EQ(run_beside(2, 0.5, 3, 0.5), 5);
  EXPECT_DOUBLE_EQ(run_beside(2, 0.9, 0, 1), 2);
}

hardware::Profile machine() {
  hardware::Profile out;
  out.ram.read_bytes_per_s = 40e9;
  out.disk.reads = {{kMiB, 2e9}};
  out.disk.beside_compute_bytes_per_s = 2e9;
  out.compute = {.threads = 1,
                 .kernels = {{"q4_0", 18e9, 64e9, 128e9, 9e9, 40e9, 9e9},
                             {"q8_0", 20e9, 60e9, 120e9, 10e9, 40e9, std::nullopt}},
                 .attention = {1e9, 2e9, 0.8},
                 .element_bytes_per_s = 1e9};
  return out;
}

PassLoad products_of(double columns, ggml_type type = GGML_TYPE_Q4_0) {
  PassLoad load{.segments = 0};
  load.work.tokens = static_cast<std::int64_t>(columns);
  load.work.products = {{type, true, false, columns, 32e9}};
  return load;
}

TEST(Cost, ProductsOfOneTokenTakeTheTimeOfTheirBytes) {
  // 32e9 weights of 18 bytes in 32: 18 GB at 18 GB/s.
  EXPECT_DOUBLE_EQ(cost_of(products_of(1), machine()).seconds, 1);
}

TEST(Cost, LongBatchesTakeTheTimeOfTheirMultiplications) {
  EXPECT_DOUBLE_EQ(cost_of(products_of(32), machine()).seconds, 0.5);
  EXPECT_DOUBLE_EQ(cost_of(products_of(512), machine()).seconds, 0.25);
  EXPECT_DOUBLE_EQ(cost_of(products_of(2048), machine()).seconds, 0.25);
  const double between = cost_of(products_of(128), machine()).seconds;
  EXPECT_LT(between, 0.5);
  EXPECT_GT(between, 0.25);
}

TEST(Cost, ATokenTakesLongerInTheFilesLayout) {
  hardware::Profile both = machine();
  both.compute.kernels[0].file_order_decode_bytes_per_s = 12e9;
  PassLoad load = products_of(1);
  EXPECT_DOUBLE_EQ(cost_of(load, both).seconds, 1);
  load.work.products[0].repacked = false;
  EXPECT_DOUBLE_EQ(cost_of(load, both).seconds, 1.5);
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 1) << "that rate was not measured";
  load.work.products[0].experts = true;
  EXPECT_DOUBLE_EQ(cost_of(load, both).seconds, 3);
}

TEST(Cost, ExpertsHaveARateOfTheirOwn) {
  PassLoad load = products_of(1);
  load.work.products[0].experts = true;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 2);  // 18 GB at 9 GB/s
  load.work.products[0].columns = 16;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 0.8);
  load.work.products[0].columns = 4;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 1.4);
  load.work.products[0].columns = 500;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 0.8);
}

TEST(Cost, ShortRowsCostMoreAndLongerOnesAsMuch) {
  hardware::Profile shares = machine();
  shares.compute.kernels[0].short_rows_decode = 0.5;
  shares.compute.kernels[0].short_rows_batch = 0.8;
  const auto seconds = [&](std::int64_t row, double columns) {
    PassLoad load = products_of(columns);
    load.work.products[0].row = row;
    return cost_of(load, shares).seconds;
  };
  EXPECT_DOUBLE_EQ(seconds(1024, 1), 2);  // at half the rate
  EXPECT_DOUBLE_EQ(seconds(4096, 1), 1);
  EXPECT_DOUBLE_EQ(seconds(11008, 1), 1);
  EXPECT_DOUBLE_EQ(seconds(2048, 1), 1 + 1 / 3.0);  // a row costs 1/3 of what 4096 weights cost by themselves
  EXPECT_DOUBLE_EQ(seconds(1024, 32), 0.5 / 0.8);
}

TEST(Cost, ATypeThatWasNotMeasuredIsTakenForTheMostSimilar) {
  EXPECT_DOUBLE_EQ(cost_of(products_of(512, GGML_TYPE_Q4_K), machine()).seconds, 0.25);
  EXPECT_NEAR(cost_of(products_of(512, GGML_TYPE_F16), machine()).seconds, 32 / 120.0, 1e-9);  // q8_0's rate
}

TEST(Cost, StreamedBytesAreReadBesideTheComputing) {
  PassLoad load = products_of(1);
  load.streamed = Bytes{1'000'000'000};
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 1 + 0.05);  // a tenth of the shorter part follows
  EXPECT_NE(cost_of(load, machine()).bound_by(), Bound::kDisk);
  load.streamed = Bytes{6'000'000'000};
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 3 + 0.1);
  EXPECT_EQ(cost_of(load, machine()).bound_by(), Bound::kDisk);
}

TEST(Cost, ExpertsAreReadWhileTheComputingWaits) {
  PassLoad load = products_of(1);
  load.expert_reads = Bytes{1'000'000'000};
  load.expert_part = kMiB;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 1.5);
}

TEST(Cost, RowsThatAreRearrangedTakeTimeOfTheCores) {
  PassLoad load = products_of(1);
  load.rearranged = {{GGML_TYPE_Q4_0, Bytes{9'000'000'000}}, {GGML_TYPE_Q8_0, Bytes{9'000'000'000}}};
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 2);  // q8_0 is not rearranged
}

TEST(Cost, AttentionGrowsWithTheCellsInUse) {
  PassLoad load{.cells = 256, .segments = 0};
  load.work.cells = 256;
  load.work.attention_multiplications = 1e9;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 1);
  load.cells = 1024;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 4);
  load.work.tokens = 512;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 2);
}

TEST(Cost, AttentionTakesAsLongAsMemoryNeedsForTheCells) {
  PassLoad load{.cells = 256, .segments = 0};
  load.work.cells = 256;
  load.work.attention_multiplications = 1e9;
  load.work.attention = Bytes{80'000'000'000};
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 2) << "at 40 GB/s";
  load.cells = 128;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 1);
}

TEST(Cost, AttentionIsSlowerInShortHeads) {
  PassLoad load{.cells = 256, .segments = 0};
  load.work.cells = 256;
  load.work.attention_multiplications = 1e9;
  load.work.head = 128;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 1);
  load.work.head = 64;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 1.25);
  load.work.head = 256;
  EXPECT_DOUBLE_EQ(cost_of(load, machine()).seconds, 0.875);
}

}  // namespace
}  // namespace brimful::plan
