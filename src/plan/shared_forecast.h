#pragma once

#include "plan/forecast.h"

namespace brimful::plan {

/// Requests for one context, as far as they are known. Tokens are means.
struct SharedWork {
  std::uint32_t requests = 1;  ///< at once, at most
  double prompt_tokens = 512;
  double answer_tokens = 512;

  [[nodiscard]] double tokens() const { return prompt_tokens + answer_tokens; }
};

/// What a context that they share would give.
struct SharedForecast {
  std::uint32_t at_once = 1;     ///< requests, by the cells that they need
  double tokens_per_second = 0;  ///< of prompts and answers
  PassCost decode;               ///< a pass that gives each of them a token
};

/// Formula: tokens / (prompt tokens * seconds of a full prompt pass / its tokens + answer tokens * seconds of
/// a decode pass / requests at once). Pure.
[[nodiscard]] SharedForecast forecast_shared(const model::ModelProfile& profile, const HostPlan& plan,
                                             const DeviceSplit& devices, const hardware::Profile& machine,
                                             const SharedWork& work);

}  // namespace brimful::plan
