#pragma once

#include <cstdint>
#include <optional>

#include "plan/forecast.h"

namespace brimful::plan {

/// How often a drafted token is right when those before it were, where nobody has measured it.
inline constexpr double kAssumedAcceptance = 0.7;

/// What speculative decoding would give one sequence.
struct DraftForecast {
  /// Number of drafted tokens in each pass.
  std::uint32_t length = 0;
  double tokens_per_second = 0;
};

/// The length with the highest rate among 1, 3, 7, .. and `longest` tokens, when each drafted token is right
/// with the probability `acceptance` (0..1) if those before it were, and drafting takes no time. A pass of
/// several tokens takes as long as one of as many sequences: so it counts the experts that they choose. Unset
/// where no length is faster than none. The other arguments are those of forecast(). Pure.
[[nodiscard]] std::optional<DraftForecast> forecast_drafts(const model::ModelProfile& profile,
                                                           const HostPlan& plan, const DeviceSplit& devices,
                                                           const hardware::Profile& machine,
                                                           const Workload& workload, std::uint32_t longest,
                                                           double acceptance);

}  // namespace brimful::plan
