#pragma once

#include <cstdint>
#include <vector>

#include "plan/cost_model.h"
#include "plan/device_split.h"
#include "plan/host_plan.h"

namespace brimful::plan {

struct Workload {
  std::int64_t sequences = 1;  ///< that decode together
  std::int64_t prompt_tokens = 512;
  std::int64_t cells = 512;  ///< of the KV cache, of one sequence, that are in use while it decodes
};

/// How long things take. Seconds are of wall clock; nothing else runs on the machine.
struct Forecast {
  PassCost decode;  ///< a pass that gives each sequence one token
  double decode_tokens_per_second = 0;
  PassCost prompt;  ///< all passes of one prompt
  double prompt_tokens_per_second = 0;
  double load_seconds = 0;
  double first_token_seconds = 0;  ///< of the prompt, once loaded
};

/// `devices` holds what does not lie on the host; plan.demand and plan.placement are the host's share then.
/// What is on a device is computed there. What is not: one token's products are computed where the weights
/// lie, long batches' too, or their weights cross the link, whichever is faster. `open_seconds`: until
/// weights are read. Pure.
[[nodiscard]] Forecast forecast(const model::ModelProfile& profile, const HostPlan& plan,
                                const DeviceSplit& devices, const hardware::Profile& machine,
                                const Workload& workload, double open_seconds);

}  // namespace brimful::plan
