#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"
#include "model/model_profile.h"

namespace brimful::model {

/// Returns a short text that tells the content of one GGUF file from another content. It is computed from
/// the whole header, the size of the file, and sixteen samples of 4 KiB of the weights. The path and the
/// times of the file do not change it.
/// Errors: those of read_header. Leaves no page cache behind.
[[nodiscard]] Result<std::string> file_fingerprint(const std::filesystem::path& path);

/// Returns the fingerprint of a whole model, which is computed from those of its files in the given order.
[[nodiscard]] Result<std::string> model_fingerprint(std::span<const ModelFile> files);

}  // namespace brimful::model
