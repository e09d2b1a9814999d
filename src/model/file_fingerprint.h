#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"
#include "model/model_profile.h"

namespace brimful::model {

/// A short text that tells the content of a GGUF file from another content: it is computed from the whole
/// header, the size, and sixteen small samples of the weights. The path and the time of the file do not
/// change it. Errors: those of read_header. Leaves no page cache behind.
[[nodiscard]] Result<std::string> file_fingerprint(const std::filesystem::path& path);

/// The same for all parts of a model, in their order.
[[nodiscard]] Result<std::string> model_fingerprint(std::span<const ModelFile> files);

}  // namespace brimful::model
