#pragma once

#include <brimful/forecast.h>

#include <vector>

#include "plan/advice.h"
#include "plan/forecast.h"

namespace brimful::session {

/// A plan's forecast and advice, as the library shows them.
[[nodiscard]] Forecast shown_forecast(const plan::Forecast& forecast, const plan::Workload& workload);
[[nodiscard]] std::vector<PlanChange> shown_changes(const std::vector<plan::Change>& changes);

}  // namespace brimful::session
