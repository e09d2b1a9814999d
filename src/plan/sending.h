#pragma once

#include "hardware/profile.h"
#include "model/model_profile.h"

namespace strata::plan {

/// From how many tokens on the layers' matrices are multiplied sooner on a device that their weights are sent
/// to, over a link of `bytes_per_s`, than by the host's cores. The device itself counts as fast enough.
/// At least 2; kNever where the cores always win. Pure. Requires: kernels in `compute`.
/// Formula: the first n with sum of seconds(product of n columns) >= bytes / rate.
[[nodiscard]] std::int64_t tokens_worth_sending(const model::ModelProfile& profile,
                                                const hardware::Compute& compute, double bytes_per_s);
inline constexpr std::int64_t kNever = std::int64_t{1} << 40;

/// Whether an expert that a token needs is sent over the link sooner than the host's cores multiply one
/// column with it. Pure. Requires: kernels in `compute`.
[[nodiscard]] bool experts_worth_sending(const model::ModelProfile& profile, const hardware::Compute& compute,
                                         double bytes_per_s);

struct Sending {
  std::int64_t from_tokens = 32;  ///< on, the layers' matrices are sent to a device
  bool experts = false;           ///< are sent to it for a single token, too
};

}  // namespace strata::plan
