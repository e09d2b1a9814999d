#pragma once

#include <ggml.h>
#include <llama.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/model_profile.h"
#include "quantise/importance.h"
#include "quantise/mixes.h"

namespace brimful::quantise {

/// What is to be made of a model, in the words of llama.cpp's quantiser.
struct Request {
  Target target;
  bool allow_requantise = false;
  /// True: every weight gets the type of the target, without a mix.
  bool pure = false;
  bool leave_output = false;  ///< True: output.weight keeps its type.
  /// True: as many files as the source has. False: one.
  bool keep_split = false;
  ggml_type output_type = GGML_TYPE_COUNT;     ///< Of output.weight; GGML_TYPE_COUNT: as the mix says.
  ggml_type embedding_type = GGML_TYPE_COUNT;  ///< Of token_embd.weight; GGML_TYPE_COUNT: as the mix says.
  /// Patterns (regular expressions) of tensor names, each with a type. The first match counts.
  std::vector<std::pair<std::string, ggml_type>> tensor_types;
};

/// One tensor of a file that is made.
struct OutputTensor {
  std::size_t source = 0;  ///< Index into ModelProfile::tensors.
  ggml_type type = GGML_TYPE_F32;
  std::uint64_t offset = 0;  ///< Bytes from the start of the file.
  std::uint64_t bytes = 0;
};

/// One file that is made. Its bytes are the header, and then each tensor with its padding.
struct OutputFile {
  std::vector<std::byte> header;  ///< With its padding.
  std::vector<OutputTensor> tensors;
  std::uint64_t size = 0;  ///< Bytes of the whole file.
};

/// Everything about the output but the weights.
struct Recipe {
  std::vector<OutputFile> files;

  [[nodiscard]] std::uint64_t size() const;
};

/// Lets llama.cpp's own quantiser decide the type of each tensor, the order of the tensors and the header: it
/// quantises a copy of the model with at most two rows in each matrix, all zero, among the temporary files.
/// None of its decisions depends on the number of rows beyond that, nor on the weights.
/// `importance` may be null. Errors: what llama.cpp's quantiser refuses, in its words; kIo.
/// Holds: a few copies of the header, while it runs.
[[nodiscard]] Result<Recipe> make_recipe(const model::ModelProfile& profile, const Request& request,
                                         const Importance* importance);

/// A string to add to the metadata of the output.
struct ExtraKey {
  std::string key;
  std::string value;
};

/// The same recipe with other types: `types` has one for each tensor of the source, in the profile's order;
/// tensors that the recipe leaves as they are keep their type. `file_type` becomes general.file_type.
/// The extra keys are added to the first file. Pure, but for memory.
/// Requires: the row length of each tensor is a multiple of its type's block.
[[nodiscard]] Result<Recipe> with_types(const Recipe& recipe, const model::ModelProfile& profile,
                                        const std::vector<ggml_type>& types, llama_ftype file_type,
                                        const std::vector<ExtraKey>& extra);

}  // namespace brimful::quantise
