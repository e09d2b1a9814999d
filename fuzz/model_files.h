#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "input.h"

namespace brimful::fuzz {

/// Makes files that read_model can open from the parts of a model. The files are in memory and have a hole
/// in place of the weights. Their names are in a temporary folder, which the destructor removes.
class ModelFiles {
 public:
  ModelFiles();
  ~ModelFiles();
  ModelFiles(const ModelFiles&) = delete;
  ModelFiles& operator=(const ModelFiles&) = delete;

  /// Replaces the content of the files by `parts`. Returns the path of the first part.
  /// Requires: 1 to kMaxParts parts, of no more than INT64_MAX bytes.
  [[nodiscard]] std::filesystem::path write(std::span<const Part> parts);

 private:
  std::filesystem::path folder_;
  std::vector<int> files_;
};

}  // namespace brimful::fuzz
