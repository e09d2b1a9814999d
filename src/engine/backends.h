#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace brimful::engine {

/// Where ggml's plug-ins for GPUs are looked for: `back-ends`, beside this program.
[[nodiscard]] std::filesystem::path back_end_folder();

/// Loads each plug-in of `folder` that is not loaded yet: its devices are ggml's from then on. Nothing where
/// there is no such folder. A driver may start threads, and take memory of the host.
/// What is wrong with those that cannot be used here, a line for each: another version's, or without its
/// driver.
[[nodiscard]] std::vector<std::string> load_back_ends(
    const std::filesystem::path& folder = back_end_folder());

}  // namespace brimful::engine
