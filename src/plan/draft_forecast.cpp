#include "plan/draft_forecast.h"

#include <algorithm>
#include <cmath>

namespace brimful::plan {

std::optional<DraftForecast> forecast_drafts(const model::ModelProfile& profile, const HostPlan& plan,
                                             const DeviceSplit& devices, const hardware::Profile& machine,
                                             const Workload& workload, std::uint32_t longest,
                                             double acceptance) {
  const auto pass_seconds = [&](std::uint32_t tokens) {
    Workload several = workload;
    several.sequences = tokens;
    return forecast(profile, plan, devices, machine, several, 0).decode.seconds;
  };
  DraftForecast best{0, 1 / pass_seconds(1)};
  for (std::uint32_t length = std::min(1U, longest); length > 0;) {
    double expected = 1;
    for (std::uint32_t i = 1; i <= length; ++i) expected += std::pow(acceptance, i);
    const double rate = expected / pass_seconds(1 + length);
    if (rate > best.tokens_per_second) best = {length, rate};
    if (length == longest) break;
    length = std::min(2 * length + 1, longest);
  }
  return best.length > 0 ? std::optional(best) : std::nullopt;
}

}  // namespace brimful::plan
