#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "base/result.h"
#include "model/gguf_reader.h"
#include "model/model_profile.h"

namespace brimful::model {

/// The header of one GGUF file, as bytes and parsed, and the identity of the file it was read from.
struct HeaderFile {
  ModelFile file;
  std::vector<std::byte> bytes;  ///< exactly header.size bytes; padding that the file lacks is zeros
  GgufHeader header;
};

/// Reads and parses the header of one file with plain reads; never maps it, and gives back the page cache
/// that the reads filled. Errors: kNotFound, kIo, kCorrupt, kUnsupported; messages start with the path.
[[nodiscard]] Result<HeaderFile> read_header(const std::filesystem::path& path,
                                             Weights weights = Weights::kRequired);

/// Whether `now` is still the file that `then` was. Errors: kIo: it was replaced, or written to.
[[nodiscard]] Status check_same_file(const ModelFile& then, const ModelFile& now);

}  // namespace brimful::model
