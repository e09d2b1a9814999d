#pragma once

#include <optional>
#include <span>
#include <vector>

#include "hardware/profile.h"
#include "model/model_profile.h"
#include "plan/device_rows.h"
#include "plan/device_split.h"
#include "plan/kv_placement.h"

namespace brimful::plan {

/// For which passes the host's weights are sent to a device.
struct TransferPolicy {
  /// Smallest number of tokens in a pass for which the layers' matrices are sent to the device. kNever: no
  /// pass has enough.
  std::int64_t min_batch = 32;
  /// Smallest number of tokens in a pass for which all experts of the layers are sent. kNever: no pass has
  /// enough.
  std::int64_t min_batch_of_experts = 32;
  /// Where many sequences decode together and the matrices are sent: the smallest number of query heads for
  /// each head of the KV cache with which the cells of the host's cache cross to the device, too. With fewer,
  /// the cores attend.
  std::int64_t min_heads_of_attention = 16;
  /// Whether, in steps of few tokens, experts that have no slot on the device are sent to it.
  bool missing_experts = false;
  /// Threads for each device that turn weights back to the file's layout while they are sent, at least 1.
  int turning_threads = 1;
  /// Rows of the host's matrices that a device multiplies in passes of few tokens, ordered by tensor.
  std::vector<DeviceRows> rows = {};
  /// What decides where the KV cache lies. Unset: it lies where the weights of its layer lie.
  std::optional<StepRates> step_rates = std::nullopt;
};
/// More tokens than any pass has.
inline constexpr std::int64_t kNever = std::int64_t{1} << 40;

/// The policy where nobody has measured the machine: a matrix is sent for 32 or more columns, on average for
/// experts.
[[nodiscard]] TransferPolicy assumed_transfer_policy(const model::ModelProfile& profile);

/// The policy that sends what takes less time over a link of `bytes_per_s` than the host's cores take to
/// multiply with it. Its minimums are 2 tokens or more, and kNever where the cores always win. With
/// `bytes_per_s` unset, the result is the assumed policy. The layouts are those of plan::host_layout(). The
/// device itself counts as fast enough. Pure. Requires: `compute` has kernels. Formula: the first n with sum
/// of seconds(product of n columns) >= sum of bytes / rate, where the rate is that of the link, or of the
/// threads that turn back what the host keeps in another layout. For experts, each one is multiplied with n *
/// used / experts columns; a missing one is turned back by all cores. For attention, the first number of
/// heads n with 2 * length * n / attention rate >= 2 * (4 * length / rate): a cell has a key and a value of
/// `length` numbers in F16, and crossing must be twice as fast, because the link is busy with the weights
/// while the cores are free.
[[nodiscard]] TransferPolicy measured_transfer_policy(const model::ModelProfile& profile,
                                                      const hardware::Compute& compute,
                                                      std::optional<double> bytes_per_s);

/// The same for a GPU of a machine. No matrix is divided by device_rows() yet: docs/adr/0030.
[[nodiscard]] TransferPolicy measured_transfer_policy(const model::ModelProfile& profile,
                                                      const hardware::Profile& machine,
                                                      const hardware::Gpu& gpu);

/// Sets the rings of all devices, for what passes of `ubatch` tokens and passes of few tokens send: room for
/// three of the largest matrices, and for two of the largest matrices of experts. Where there are several
/// devices, each has room for a whole layer without its experts, because its link sends the next layer while
/// another device computes. A ring that `transfer_policy` does not use for so many tokens stays as it is.
/// Where rows are divided, the ring has room for their buffers, too.
void add_rings(std::span<DeviceBudget> devices, const model::ModelProfile& profile,
               const TransferPolicy& transfer_policy, std::int64_t ubatch);

}  // namespace brimful::plan
