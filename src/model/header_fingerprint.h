#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "model/model_profile.h"

namespace brimful::model {

/// A short text that tells the headers of a model's files from other headers. Weights, paths and times do not
/// change it, so that a header which was fetched by itself has that of the whole file.
/// Errors: those of read_header. Leaves no page cache behind.
[[nodiscard]] Result<std::string> header_fingerprint(std::span<const ModelFile> files);

}  // namespace brimful::model
