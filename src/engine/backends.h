#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace brimful::engine {

/// The folder of ggml's plug-ins for GPUs: `back-ends`, beside this program.
[[nodiscard]] std::filesystem::path backend_folder();

/// What to do about a plug-in that the system could not load for the reason `why`.
[[nodiscard]] std::string advice_on_backend(std::string_view why);

/// Loads each plug-in in `folder` that is not loaded yet; ggml then has the plug-in's devices. A missing
/// folder counts as empty. A driver may start threads, and allocate host memory. Returns one line for each
/// plug-in that cannot be used, for example because it belongs to another version of ggml, its driver is
/// missing, or there is no GPU.
[[nodiscard]] std::vector<std::string> load_back_ends(const std::filesystem::path& folder = backend_folder());

}  // namespace brimful::engine
