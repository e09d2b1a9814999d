#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "input.h"

namespace brimful::fuzz {

/// The parts of a model as files that read_model can open: in memory, with a hole where the weights would
/// be, under names in a folder of their own that is removed at the end.
class ModelFiles {
 public:
  ModelFiles();
  ~ModelFiles();
  ModelFiles(const ModelFiles&) = delete;
  ModelFiles& operator=(const ModelFiles&) = delete;

  /// Replaces what was written before. Returns the path of the first part.
  /// Requires: 1 to kMaxParts parts, of no more than INT64_MAX bytes.
  [[nodiscard]] std::filesystem::path write(std::span<const Part> parts);

 private:
  std::filesystem::path folder_;
  std::vector<int> files_;
};

}  // namespace brimful::fuzz
