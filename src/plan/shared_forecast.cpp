#include "plan/shared_forecast.h"

#include <algorithm>

namespace brimful::plan {

SharedForecast forecast_shared(const model::ModelProfile& profile, const HostPlan& plan,
                               const DeviceSplit& devices, const hardware::Profile& machine,
                               const SharedWork& work) {
  SharedForecast out;
  const double tokens = std::max(work.tokens(), 1.0);
  out.at_once = static_cast<std::uint32_t>(
      std::clamp(plan.context / tokens, 1.0, static_cast<double>(std::max(work.requests, 1U))));
  const Forecast passes =
      forecast(profile, plan, devices, machine,
               {.sequences = out.at_once,
                .prompt_tokens = plan.prompt.tokens,
                .cells = static_cast<std::int64_t>(work.prompt_tokens + work.answer_tokens / 2)},
               0);
  out.decode = passes.decode;
  const double seconds = work.prompt_tokens / passes.prompt_tokens_per_second +
                         work.answer_tokens * passes.decode.seconds / out.at_once;
  out.tokens_per_second = tokens / seconds;
  return out;
}

}  // namespace brimful::plan
