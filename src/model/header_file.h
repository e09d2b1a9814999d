#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "base/result.h"
#include "model/gguf_reader.h"
#include "model/model_profile.h"

namespace brimful::model {

/// The header of one GGUF file, as bytes and parsed, with the identity of the file that it was read from.
struct HeaderFile {
  ModelFile file;
  /// Exactly header.size bytes. Padding that the file lacks is zeros.
  std::vector<std::byte> bytes;
  GgufHeader header;
};

/// Reads and parses the header of one file. It reads with pread(), never maps the file, and drops the pages
/// that the reads left in the page cache.
/// Errors: kNotFound; kInvalidArgument when the path is a folder or not a regular file; kIo, kCorrupt,
/// kUnsupported. Messages start with the path. Blocks: on the disk.
[[nodiscard]] Result<HeaderFile> read_header(const std::filesystem::path& path,
                                             Weights weights = Weights::kRequired);

/// Checks that `now` is still the file that `then` describes, by size, device, inode and time of
/// modification.
/// Errors: kIo when the file was replaced or written to.
[[nodiscard]] Status check_same_file(const ModelFile& then, const ModelFile& now);

}  // namespace brimful::model
