#pragma once

#include <cstdint>
#include <vector>

#include "plan/cost_model.h"
#include "plan/device_split.h"
#include "plan/host_plan.h"

namespace brimful::plan {

/// What the forecast is made for.
struct Workload {
  /// Number of sequences that decode together.
  std::int64_t sequences = 1;
  std::int64_t prompt_tokens = 512;
  /// Cells of the KV cache that are in use for each sequence while it decodes.
  std::int64_t cells = 512;
};

/// A pass that checks a draft.
struct DraftedPass {
  /// The drafted tokens, all of which are accepted. The pass gives one token more.
  std::int64_t accepted = 0;
  double tokens_per_second = 0;
};

/// How long things take, in seconds of wall clock, while nothing else runs on the machine.
struct Forecast {
  /// A pass that gives each sequence one token.
  PassCost decode;
  double decode_tokens_per_second = 0;
  /// What drafts of several lengths would give one sequence, where that is more than without. How many tokens
  /// of a draft are accepted depends on the text.
  std::vector<DraftedPass> drafted;
  /// All passes of one prompt.
  PassCost prompt;
  double prompt_tokens_per_second = 0;
  double load_seconds = 0;
  /// From the start of the prompt to the first token, on a loaded model.
  double first_token_seconds = 0;
};

/// `devices` says what does not lie on the host; plan.demand and plan.placement are the host's share. What
/// lies on a device is computed there. What lies on the host: for one token, its products are computed on the
/// host; for more tokens, on the host, or on the device after the weights have crossed the link, whichever is
/// faster. `open_seconds` is the time until weights are read. Pure.
[[nodiscard]] Forecast forecast(const model::ModelProfile& profile, const HostPlan& plan,
                                const DeviceSplit& devices, const hardware::Profile& machine,
                                const Workload& workload, double open_seconds);

}  // namespace brimful::plan
