#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "model/model_profile.h"

namespace brimful::quantise {

/// An importance matrix: for each weight matrix, how much each column of it counts. llama.cpp's quantiser
/// takes it to weigh the error of a weight.
struct Importance {
  /// By the tensor's name: one value for each column, for a tensor of experts one such row for each expert.
  std::map<std::string, std::vector<float>, std::less<>> columns;
  /// The file, as the user named it; empty when the matrix was computed here.
  std::string file;
  /// The first dataset that the file names; empty when it names none.
  std::string dataset;
  /// How many chunks of text the values come from; 0 when unknown.
  std::uint32_t chunks = 0;
  /// The tensors whose columns all count alike because nothing is known about them.
  std::set<std::string, std::less<>> uniform;
};

/// Reads an importance matrix in GGUF, as llama.cpp's llama-imatrix writes it, and checks it against the
/// model that is to be quantised.
/// Errors: kNotFound, kIo, kCorrupt, kUnsupported (a matrix in llama.cpp's older format), kInvalidArgument
/// when the matrix is of another model: no matrix of the model is in it, or one has another size.
[[nodiscard]] Result<Importance> read_importance(const std::filesystem::path& path,
                                                 const model::ModelProfile& profile);

/// Adds the names and the values of all columns to `hash`.
void add_columns(Hash64& hash, const Importance& importance);

/// Adds a row of ones for each matrix of the profile that the importance lacks. ggml's quantisers then look
/// for the least squared error; without it, most of them do so more coarsely.
void add_uniform(Importance& importance, const model::ModelProfile& profile);

}  // namespace brimful::quantise
