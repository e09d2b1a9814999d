#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace brimful::quantise {

/// How far a run has come. It lies in a small file beside the output, OUT.brimful-state.
struct Progress {
  std::size_t file = 0;     ///< Number of the file that is being written; files before it are whole.
  std::size_t tensors = 0;  ///< How many tensors of this file are on the disk.
};

[[nodiscard]] std::filesystem::path state_path(const std::filesystem::path& output);

/// Reads how far an earlier run of the work `job` has come; the beginning when there was none, when it was
/// another work, or when the file makes no sense.
[[nodiscard]] Progress read_progress(const std::filesystem::path& output, std::uint64_t job);

/// Replaces the file in one step. Errors: kIo.
[[nodiscard]] Status save_progress(const std::filesystem::path& output, std::uint64_t job, Progress progress);

/// Removes the file. A file that cannot be removed is left: a later run does not take it for its own.
[[nodiscard]] Status forget_progress(const std::filesystem::path& output);

}  // namespace brimful::quantise
