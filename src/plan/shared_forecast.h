#pragma once

#include "plan/forecast.h"

namespace brimful::plan {

/// Requests that share one context, as far as they are known. Numbers of tokens are averages.
struct SharedWork {
  /// Largest number of requests at once.
  std::uint32_t requests = 1;
  double prompt_tokens = 512;
  double answer_tokens = 512;

  [[nodiscard]] double tokens() const { return prompt_tokens + answer_tokens; }
};

/// What a shared context would give.
struct SharedForecast {
  /// Number of requests that run at once: as many as their KV cells allow.
  std::uint32_t at_once = 1;
  /// Tokens of prompts and answers together.
  double tokens_per_second = 0;
  /// A pass that gives each of these requests one token.
  PassCost decode;
};

/// Formula: tokens / (prompt tokens * seconds of a full prompt pass / its tokens + answer tokens * seconds of
/// a decode pass / requests at once). Pure.
[[nodiscard]] SharedForecast forecast_shared(const model::ModelProfile& profile, const HostPlan& plan,
                                             const DeviceSplit& devices, const hardware::Profile& machine,
                                             const SharedWork& work);

}  // namespace brimful::plan
