#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"
#include "quantise/importance.h"
#include "quantise/recipe.h"

namespace brimful::quantise {

/// How a recipe is carried out.
struct WriteOptions {
  /// The file to write; with several files, the name without the numbers and `.gguf`.
  std::filesystem::path path;
  unsigned threads = 1;
  /// The memory that the work may take from now on.
  Bytes room;
  /// What messages call the RAM budget.
  std::string ram_name = "the RAM budget";
  /// Called now and then with the bytes that are done, those of an earlier, interrupted run included.
  std::function<void(Bytes done)> progress;
};

/// What was written.
struct Written {
  std::vector<std::filesystem::path> files;
  Bytes bytes;
  /// The bytes that an earlier, interrupted run had written already.
  Bytes resumed;
};

/// The path of file number `which` (from 0) of `count` files.
[[nodiscard]] std::filesystem::path output_path(const std::filesystem::path& path, std::size_t which,
                                                std::size_t count);

/// The smallest room in which write_model() can work.
[[nodiscard]] Bytes smallest_room(const model::ModelProfile& profile, const Recipe& recipe, unsigned threads);

/// Reads the source, quantises it, and writes the output, some rows at a time. The bytes go to unfinished
/// files beside the final names; these get their names when all of them are whole. Where an earlier run of
/// the same work was ended at any moment, it goes on after the last tensor that had reached the disk.
/// `importance` may be null. Errors: kInfeasible when `room` is too small, with the budget that would fit;
/// kIo, also when the source was changed meanwhile; kCorrupt for invalid weights.
[[nodiscard]] Result<Written> write_model(const model::ModelProfile& profile, const Recipe& recipe,
                                          const Importance* importance, const WriteOptions& options);

}  // namespace brimful::quantise
