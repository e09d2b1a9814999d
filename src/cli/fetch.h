#pragma once

#include <filesystem>

#include "hub/fetch_model.h"

namespace brimful::cli {

/// Downloads a model as hub::download_model() does, with lines on stderr: one that says what is fetched, and
/// on a terminal one with the progress, the rate and the time that is left.
[[nodiscard]] Result<std::filesystem::path> download_and_show(const hub::Settings& settings,
                                                              const hub::HubCache& cache,
                                                              const hub::HubFiles& model);

}  // namespace brimful::cli
