#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "model/model_profile.h"

namespace brimful::model {

/// Returns a short text that tells the headers of a model's files from other headers. It is computed from
/// the headers alone, in the given order, and not from weights, paths and times: so a header that was
/// fetched without its weights has the same fingerprint as the whole file.
/// Errors: those of read_header. Leaves no page cache behind.
[[nodiscard]] Result<std::string> header_fingerprint(std::span<const ModelFile> files);

}  // namespace brimful::model
