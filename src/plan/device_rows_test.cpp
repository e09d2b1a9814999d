#include "plan/device_rows.h"

#include <gtest/gtest.h>

#include "plan/device_split.h"
#include "plan/transfer_policy.h"

namespace brimful::plan {
namespace {

constexpr std::int64_t kRows = 32'000;

/// A model with one matrix of 8192 columns in Q8_0 in a layer, which has 278 MB with kRows rows.
model::ModelProfile one_matrix(std::int64_t rows, model::Role role = model::Role::kFeedForward) {
  model::ModelProfile out;
  model::TensorInfo tensor;
  tensor.type = GGML_TYPE_Q8_0;
  tensor.shape = {8192, rows, 1, 1};
  tensor.layer = 0;
  tensor.role = role;
  tensor.bytes = tensor.row_bytes() * static_cast<std::uint64_t>(rows);
  out.tensors.push_back(tensor);
  return out;
}

/// Cores that multiply at 30 GB/s and could read at `ram_bytes_per_s`.
hardware::Profile machine(double ram_bytes_per_s) {
  hardware::Profile out;
  out.ram.read_bytes_per_s = ram_bytes_per_s;
  out.compute = {.kernels = {{"q8_0", 30e9, 128e9, 128e9, 34e9, 128e9, std::nullopt}},
                 .seconds_per_segment = 1e-5};
  return out;
}

/// A GPU with a link of this rate.
hardware::Gpu link(double bytes_per_s) { return {.host_to_device_bytes_per_s = bytes_per_s}; }

TEST(PlannedRows, TheLinkGetsRowsByItsRate) {
  const model::ModelProfile model = one_matrix(kRows);
  using Rows = std::vector<DeviceRows>;
  EXPECT_EQ(device_rows(model, machine(200e9), link(30e9)), (Rows{{0, kRows / 2}}));
  EXPECT_EQ(device_rows(model, machine(200e9), link(10e9)), (Rows{{0, kRows * 3 / 4}}));
  // Memory gives 50 GB/s to both together: with 40% of the rows the cores never wait, with 50% both slow down
  // alike.
  EXPECT_EQ(device_rows(model, machine(45e9), link(30e9)), (Rows{{0, kRows * 55 / 100}}));
  const Rows odd = device_rows(model, machine(200e9), link(23.4e9));
  ASSERT_EQ(odd.size(), 1U);
  EXPECT_EQ(odd.front().first_row % kRowStep, 0);
  EXPECT_EQ(bytes_of(model, odd),
            model.tensors[0].row_bytes() * static_cast<std::uint64_t>(kRows - odd.front().first_row));
}

// What is gained: 1.11 where memory is the limit, more where the cores are.
TEST(PlannedRows, LinkAndCoresTogetherReachWhatMemoryGives) {
  const MemoryBesideLink desktop = memory_beside_link({.read_bytes_per_s = 45e9}, {});
  EXPECT_NEAR(rate_together(45e9, 25e9, desktop) / 45e9, 1.11, 0.005);
  EXPECT_NEAR(rate_together(27e9, 25e9, desktop) / 27e9, 1.85, 0.005);
  EXPECT_NEAR(rate_together(27e9, 12.5e9, desktop) / 27e9, 1.46, 0.005);
  EXPECT_NEAR(rate_together(65e9, 50e9, memory_beside_link({.read_bytes_per_s = 200e9}, {})) / 65e9, 1.77,
              0.005);
  EXPECT_EQ(rate_together(60e9, 25e9, desktop), 60e9) << "never slower than the cores alone";
}

// The cores and the link divide what memory gives, and a measurement says how. Whatever it says, the cores
// get no fewer rows than they would with a link that is never slowed down.
TEST(PlannedRows, TheMeasuredShareOfALinkCounts) {
  const hardware::Ram ram{.read_bytes_per_s = 45e9};
  const auto share = [&](double copies, double reads) {
    return share_of_link(45e9, 25e9,
                         memory_beside_link(ram, {.copies_beside_reads_bytes_per_s = copies,
                                                  .reads_beside_copies_bytes_per_s = reads}));
  };
  EXPECT_DOUBLE_EQ(share(14e9, 36e9), 0.28);
  EXPECT_DOUBLE_EQ(share(25e9, 25e9), 25.0 / 70) << "not more than by the rates";
  EXPECT_DOUBLE_EQ(share(1e9, 49e9), 0.1) << "the cores alone leave so much";
  EXPECT_NEAR(share_of_link(45e9, 25e9, memory_beside_link(ram, {})), (0.1 + 25.0 / 70) / 2, 1e-9);
}

TEST(PlannedRows, AMatrixStaysWholeWhereNothingIsGained) {
  EXPECT_TRUE(device_rows(one_matrix(kRows), machine(27e9), link(30e9)).empty()) << "memory gives no more";
  EXPECT_TRUE(device_rows(one_matrix(256), machine(200e9), link(30e9)).empty())
      << "a way to the device takes longer";
  EXPECT_TRUE(device_rows(one_matrix(kRows + 2), machine(200e9), link(30e9)).empty()) << "another kernel";
  EXPECT_TRUE(device_rows(one_matrix(kRows), machine(200e9), link(1e6)).empty()) << "a slow link";
  EXPECT_TRUE(device_rows(one_matrix(kRows, model::Role::kExpert), machine(200e9), link(30e9)).empty());
  model::ModelProfile output = one_matrix(kRows);
  output.tensors[0].layer.reset();
  EXPECT_TRUE(device_rows(output, machine(200e9), link(30e9)).empty())
      << "the ring has no room for the output";
}

TEST(PlannedRows, AreNotSentUntilTheyPay) {
  EXPECT_TRUE(measured_transfer_policy(one_matrix(kRows), machine(200e9), link(30e9)).rows.empty());
}

TEST(PlannedRows, TheRingHasRoomForTheirBuffers) {
  const model::ModelProfile model = one_matrix(kRows);
  const TransferPolicy policy{.min_batch = kNever, .min_batch_of_experts = kNever, .rows = {{0, kRows / 2}}};
  const RowBuffers buffers = row_buffers(model, policy.rows);
  EXPECT_EQ(buffers.inputs, Bytes{8192 * 4 * 32});
  EXPECT_EQ(buffers.results, Bytes{kRows * 4 * 32}) << "two products of half of the rows";
  std::vector<DeviceBudget> devices(1);
  add_rings(devices, model, policy, 512);
  EXPECT_EQ(devices[0].ring, align_up(model.tensors[0].bytes * 3 + buffers.total(), kMiB));
  EXPECT_EQ(devices[0].rows, policy.rows);
  devices = std::vector<DeviceBudget>(1);
  add_rings(devices, model, {.min_batch = kNever, .min_batch_of_experts = kNever}, 512);
  EXPECT_EQ(devices[0].ring, Bytes{}) << "nothing is sent";
}

}  // namespace
}  // namespace brimful::plan
