#pragma once

#include "hardware/profile.h"
#include "model/model_profile.h"

namespace strata::plan {

/// Which of the host's weights are worth sending to a device.
struct Sending {
  std::int64_t from_tokens = 32;   ///< on, the layers' matrices
  std::int64_t experts_from = 32;  ///< tokens on, all the experts
  bool missing_experts = false;    ///< of few tokens: those that have no slot there
};
inline constexpr std::int64_t kNever = std::int64_t{1} << 40;

/// Where nobody measured: from 32 columns on for each matrix, on average.
[[nodiscard]] Sending assumed_sending(const model::ModelProfile& profile);

/// What takes less time over a link of `bytes_per_s` than the host's cores take to multiply with it; from at
/// least 2 tokens on; kNever where the cores always win. The device itself counts as fast enough. Pure.
/// Requires: kernels in `compute`.
/// Formula: the first n with sum of seconds(product of n columns) >= bytes / rate; of experts, each is
/// multiplied with n * used / experts columns.
[[nodiscard]] Sending worth_sending(const model::ModelProfile& profile, const hardware::Compute& compute,
                                    double bytes_per_s);

/// Of a device's memory, for matrices on their way: room for three of the largest, or two of experts.
[[nodiscard]] Bytes ring_bytes(const model::ModelProfile& profile);
[[nodiscard]] Bytes expert_ring_bytes(const model::ModelProfile& profile);

}  // namespace strata::plan
