#pragma once

#include <map>
#include <string>
#include <vector>

namespace brimful::tier {

/// How much the experts of a model were used lately: for each group, by the name of its first weight, the
/// worth of each expert as ExpertSlots counts it. It decides which experts come to slots first, and nothing
/// else. Groups that it does not name, or names with another number of experts, begin without it.
using ExpertHeat = std::map<std::string, std::vector<float>, std::less<>>;

}  // namespace brimful::tier
