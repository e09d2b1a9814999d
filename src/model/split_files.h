#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

/// Cuts a GGUF file into parts, and joins parts again, with the bytes that llama-gguf-split writes. Any GGUF
/// file will do, not only models. Weights are copied through a small buffer, and leave the page cache.
namespace brimful::model {

/// How a file is cut. Exactly one limit is set.
struct SplitLimits {
  /// The most bytes of tensors in a part, without its header.
  std::optional<Bytes> bytes;
  /// The most tensors in a part.
  std::optional<std::uint32_t> tensors;
  /// Whether the first part has only the keys.
  bool no_tensors_in_first = false;
};

/// A part of a file that is cut.
struct SplitPart {
  std::filesystem::path path;
  std::size_t tensors = 0;
  /// The size of the file.
  Bytes bytes;
};

/// Gets the bytes that are written so far, and of all. Returning false cancels.
using CopyProgress = std::function<bool(Bytes done, Bytes total)>;

/// Cuts `file` into `prefix`-00001-of-0000N.gguf and so on. Without `write`, it only says how. Existing files
/// are replaced only with `force`. After an error there are no new parts. Errors: those of read_header;
/// kInvalidArgument for a limit that cannot be kept, and a file that is a part itself; kNoSpace, kIo,
/// kCancelled.
[[nodiscard]] Result<std::vector<SplitPart>> split_file(const std::filesystem::path& file,
                                                        const std::filesystem::path& prefix,
                                                        const SplitLimits& limits, bool write, bool force,
                                                        const CopyProgress& progress);

/// Joins all parts of which `first_part` is the first one into `file`, and returns how many there are. An
/// existing file is replaced only with `force`. Errors: as above; kNotFound for a part that is missing;
/// kCorrupt for parts that do not belong together.
[[nodiscard]] Result<std::size_t> merge_files(const std::filesystem::path& first_part,
                                              const std::filesystem::path& file, bool force,
                                              const CopyProgress& progress);

}  // namespace brimful::model
