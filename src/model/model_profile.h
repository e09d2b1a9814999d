#pragma once

#include <ggml.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/gguf_reader.h"

namespace brimful::model {

/// The purpose of a tensor in the model, as its name says (by llama.cpp's GGUF naming convention).
enum class Role { kTokenEmbedding, kOutput, kAttention, kFeedForward, kExpert, kNorm, kOther };

/// The role in words for people, such as `token embedding`.
[[nodiscard]] std::string_view to_string(Role role);

/// One tensor of a model, and where it lies on disk.
struct TensorInfo {
  std::string name;
  ggml_type type = GGML_TYPE_F32;
  /// ggml's `ne`: shape[0] is the row length in elements. Unused dimensions are 1.
  std::array<std::int64_t, 4> shape{1, 1, 1, 1};
  /// The tensor's file, as an index into ModelProfile::files.
  std::uint32_t file = 0;
  /// The position of the tensor's first byte, from the start of that file.
  std::uint64_t offset = 0;
  /// The tensor's size: exactly what ggml_nbytes() returns, without padding.
  Bytes bytes;
  Role role = Role::kOther;
  /// The number N in a name that begins with `blk.N.`; nullopt for a tensor outside the layers.
  std::optional<int> layer;

  [[nodiscard]] Bytes row_bytes() const { return Bytes{ggml_row_size(type, shape[0])}; }
  [[nodiscard]] std::int64_t rows() const { return shape[1] * shape[2] * shape[3]; }
  /// Whether it is a matrix of a layer that every token uses: no norm or bias, and no experts.
  [[nodiscard]] bool is_dense_matrix_of_layer() const {
    return layer.has_value() && rows() > 1 && role != Role::kExpert;
  }
};

/// One GGUF file with its identity: check_same_file() compares the numbers to notice that the file was
/// replaced or written to later. They are the fields of stat(): st_size, st_dev, st_ino and st_mtim (in
/// nanoseconds).
struct ModelFile {
  std::filesystem::path path;
  Bytes size;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t modified_ns = 0;
};

/// The content of a model's GGUF header (of all its parts, when the model is split), read and checked by our
/// own reader. No weight has been read.
/// Invariant: every tensor lies inside its file (unless weights are missing), aligned as the file says, with
/// a type, shape and size that ggml can hold without overflow; tensor names are unique. So it is safe to
/// give the header to libllama.
struct ModelProfile {
  /// The files of the model, the first part first.
  std::vector<ModelFile> files;
  /// The tensors of all files, by file and then by offset.
  std::vector<TensorInfo> tensors;
  /// The value of general.name; the name of the first file without its extension when the key is missing or
  /// empty.
  std::string name;
  /// The value of general.architecture.
  std::string architecture;
  /// The number of layers: <arch>.block_count.
  std::uint32_t layers = 0;
  /// The width of the embedding in elements: <arch>.embedding_length.
  std::uint32_t embedding = 0;
  /// The context that the model was trained with, in tokens: <arch>.context_length. 0 when the file does not
  /// say.
  std::uint32_t train_context = 0;
  /// The number of experts that one token uses in one layer: the largest value of <arch>.expert_used_count.
  /// 0 for a model without experts.
  std::uint32_t experts_used = 0;
  /// The number of tokens in tokenizer.ggml.tokens; 0 without a tokenizer.
  std::uint32_t vocabulary = 0;
  /// The number of elements of all tensors.
  std::uint64_t parameters = 0;
  /// The value of tokenizer.chat_template; empty when the file has none.
  std::string chat_template;
  /// Whether a file ends before its last tensor does. The model can then be planned, and not run.
  bool weights_missing = false;

  /// The size of all tensors, without padding.
  [[nodiscard]] Bytes weight_bytes() const;
  /// The argument with which the files have to be read again.
  [[nodiscard]] Weights weights() const {
    return weights_missing ? Weights::kMayBeMissing : Weights::kRequired;
  }
  /// Returns the tensor with that name, or null when there is none. Lifetime: that of this profile.
  [[nodiscard]] const TensorInfo* find(std::string_view tensor_name) const;
};

/// Reads and checks the header of a GGUF model. `path` is the model's file, or the first part of a split
/// model (`-00001-of-0000N.gguf`); the other parts are found beside it by their names. With kMayBeMissing,
/// files that were cut off after their headers are accepted, too.
/// Errors: kNotFound, kInvalidArgument (a path that is no model file, or a later part of a split model),
/// kIo, kCorrupt, kUnsupported. The message names the file and what to do.
/// Holds: the header in memory while it reads (a few MB, mostly vocabulary). Leaves no page cache behind.
[[nodiscard]] Result<ModelProfile> read_model(const std::filesystem::path& path,
                                              Weights weights = Weights::kRequired);

}  // namespace brimful::model
