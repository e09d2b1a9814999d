#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace brimful::batch {

/// One thing that changes answers: a flag, or the content of a file that a flag names.
struct Setting {
  std::string name;   ///< The flag, such as `-m`.
  std::string value;  ///< What is compared: of a file, its content. Empty: the flag was not given.
  std::string shown;  ///< What a person reads; empty: `value`.
};

/// Everything beside the requests that changes answers. Threads and budgets are not in it.
using Settings = std::vector<Setting>;

/// What an answer calls the model; a job keeps the name that it began with.
inline constexpr const char* kServedName = "--served-model-name";

/// The `system_fingerprint` of answers that were computed with these settings: `fp_` and 16 hexadecimal
/// digits. Neither the served name nor a flag that was not given changes it.
[[nodiscard]] std::string fingerprint(const Settings& settings);

/// A text for people that names each setting of `now` that has another value in `before`, with both values. A
/// setting that `before` lacks counts as not given. Empty: there is no difference.
[[nodiscard]] std::string difference(const Settings& before, const Settings& now);

}  // namespace brimful::batch
