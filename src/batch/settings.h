#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace brimful::batch {

/// One setting that changes answers: a flag, or the content of a file that a flag names.
struct Setting {
  /// The flag, for example `-m`.
  std::string name;
  /// The value to compare; for a file, its content. Empty: the flag was not given.
  std::string value;
  /// The text for people; empty: `value`.
  std::string shown;
};

/// All settings that change answers, besides the requests themselves. Threads and budgets are not among them.
using Settings = std::vector<Setting>;

/// The name of the setting for the model's name in answers. A job keeps the name that it began with.
inline constexpr const char* kServedName = "--served-model-name";

/// The `system_fingerprint` of answers that were computed with these settings: `fp_` and 16 hexadecimal
/// digits. The served name and flags that were not given do not change it.
[[nodiscard]] std::string fingerprint(const Settings& settings);

/// Text for people that names each setting of `now` with another value in `before`, with both values. A
/// setting that is missing in `before` counts as not given. Empty: there is no difference.
[[nodiscard]] std::string difference(const Settings& before, const Settings& now);

}  // namespace brimful::batch
