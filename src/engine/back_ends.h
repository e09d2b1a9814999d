#pragma once

#include <filesystem>

#include "base/result.h"

namespace strata::engine {

/// Where ggml's plug-ins for GPUs are looked for: `back-ends`, beside this program.
[[nodiscard]] std::filesystem::path back_end_folder();

/// Loads each plug-in of `folder` that is not loaded yet: its devices are ggml's from then on. Nothing where
/// there is no such folder. A driver may start threads, and take memory of the host.
/// Errors: kUnsupported for a plug-in that cannot be loaded here: another version's, or without its driver.
[[nodiscard]] Status load_back_ends(const std::filesystem::path& folder = back_end_folder());

}  // namespace strata::engine
