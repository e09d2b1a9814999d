#pragma once

#include <optional>

#include "hardware/profile.h"
#include "model/model_profile.h"
#include "plan/device_split.h"

namespace brimful::plan {

/// Which of the host's weights are worth sending to a device.
struct TransferPolicy {
  std::int64_t min_batch = 32;             ///< on, the layers' matrices
  std::int64_t min_batch_of_experts = 32;  ///< tokens on, all the experts
  bool missing_experts = false;            ///< of few tokens: those that have no slot there
};
inline constexpr std::int64_t kNever = std::int64_t{1} << 40;

/// Where nobody measured: from 32 columns on for each matrix, on average.
[[nodiscard]] TransferPolicy assumed_transfer_policy(const model::ModelProfile& profile);

/// What takes less time over a link of `bytes_per_s` than the host's cores take to multiply with it; from at
/// least 2 tokens on; kNever where the cores always win. Where the rate is not known: what is assumed. The
/// device itself counts as fast enough. Pure. Requires: kernels in `compute`. Formula: the first n with sum
/// of seconds(product of n columns) >= bytes / rate; of experts, each is multiplied with n * used / experts
/// columns.
[[nodiscard]] TransferPolicy measured_transfer_policy(const model::ModelProfile& profile,
                                                      const hardware::Compute& compute,
                                                      std::optional<double> bytes_per_s);

/// Room in the device's memory for what batches of `ubatch` tokens send: three of the largest matrices, two
/// of experts.
void add_rings(DeviceBudget& device, const model::ModelProfile& profile,
               const TransferPolicy& transfer_policy, std::int64_t ubatch);

}  // namespace brimful::plan
