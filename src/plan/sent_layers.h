#pragma once

#include <vector>

#include "plan/device_split.h"

namespace brimful::plan {

/// Deals out the layers whose weights are sent to devices for batches, in turns by the rates of the links,
/// and the rows that are multiplied there. Gives up rings that get no layer. `split` is filled otherwise;
/// `budgets` are those that it was made for. Pure.
void deal_sent_layers(const model::ModelProfile& profile, const std::vector<DeviceBudget>& budgets,
                      DeviceSplit& split);

}  // namespace brimful::plan
