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

/// What a tensor does in the model, told from its name (the names of llama.cpp's GGUF convention).
enum class Role { kTokenEmbedding, kOutput, kAttention, kFeedForward, kExpert, kNorm, kOther };

[[nodiscard]] std::string_view to_string(Role role);

struct TensorInfo {
  std::string name;
  ggml_type type = GGML_TYPE_F32;
  std::array<std::int64_t, 4> shape{1, 1, 1, 1};  ///< ggml's ne: shape[0] is the row length, in elements
  std::uint32_t file = 0;                         ///< index into ModelProfile::files
  std::uint64_t offset = 0;                       ///< first byte, from the start of that file
  Bytes bytes;                                    ///< exactly ggml_nbytes
  Role role = Role::kOther;
  std::optional<int> layer;  ///< N of `blk.N.`

  [[nodiscard]] Bytes row_bytes() const { return Bytes{ggml_row_size(type, shape[0])}; }
  [[nodiscard]] std::int64_t rows() const { return shape[1] * shape[2] * shape[3]; }
};

/// One GGUF file, and what tells it from another file that takes its place later.
struct ModelFile {
  std::filesystem::path path;
  Bytes size;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t modified_ns = 0;
};

/// What our own reader found in a GGUF header (all splits of it). Nothing of the weights has been read.
/// Invariant: every tensor lies inside its file (unless weights are missing), aligned as the file says, with
/// a type, shape and size that ggml can hold without overflow; names are unique; so libllama may be given the
/// header.
struct ModelProfile {
  std::vector<ModelFile> files;
  std::vector<TensorInfo> tensors;  ///< in file order, then in offset order
  std::string name;                 ///< general.name, or the file's stem
  std::string architecture;         ///< general.architecture
  std::uint32_t layers = 0;         ///< <arch>.block_count
  std::uint32_t embedding = 0;      ///< <arch>.embedding_length, elements
  std::uint32_t train_context = 0;  ///< <arch>.context_length, tokens; 0 where the file does not say
  std::uint32_t experts_used = 0;   ///< by a token, in one layer: <arch>.expert_used_count, the largest
  std::uint32_t vocabulary = 0;     ///< tokens in tokenizer.ggml.tokens; 0 without a tokenizer
  std::uint64_t parameters = 0;     ///< elements of all tensors
  std::string chat_template;        ///< tokenizer.chat_template, may be empty
  bool weights_missing = false;     ///< a file ends before its last tensor does: to plan with, not to run

  [[nodiscard]] Bytes weight_bytes() const;
  /// How its files are to be read again.
  [[nodiscard]] Weights weights() const {
    return weights_missing ? Weights::kMayBeMissing : Weights::kRequired;
  }
  [[nodiscard]] const TensorInfo* find(std::string_view tensor_name) const;
};

/// Reads and checks the header of a GGUF model: PATH is a file, or the first of a split model
/// (`-00001-of-0000N.gguf`; the others are found beside it). With kMayBeMissing, files that were cut after
/// their headers will do.
/// Errors: kNotFound, kIo, kCorrupt, kUnsupported; the message names the file and what to do.
/// Holds: the header in memory while reading (a few MB, mostly vocabulary). Leaves no page cache behind.
[[nodiscard]] Result<ModelProfile> read_model(const std::filesystem::path& path,
                                              Weights weights = Weights::kRequired);

}  // namespace brimful::model
