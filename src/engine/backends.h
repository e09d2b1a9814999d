#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace brimful::engine {

/// The folder of ggml's plug-ins for GPUs: `back-ends`, beside this program.
[[nodiscard]] std::filesystem::path backend_folder();

/// Loads each plug-in in `folder` that is not loaded yet; ggml then has the plug-in's devices. A missing
/// folder counts as empty. A driver may start threads, and allocate host memory. Returns one line for each
/// plug-in that cannot be used, for example because it belongs to another version of ggml or its driver is
/// missing.
[[nodiscard]] std::vector<std::string> load_back_ends(const std::filesystem::path& folder = backend_folder());

}  // namespace brimful::engine
