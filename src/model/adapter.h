#pragma once

#include <filesystem>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"

// Readers of the files that change the answers of a model: LoRA adapters and control vectors. These files
// are as untrusted as the model's own file.

namespace brimful::model {

/// The result of reading and checking a LoRA adapter's header. It is safe to give the file to libllama.
struct LoraFile {
  ModelFile file;
  /// The size of all tensors of the adapter together.
  Bytes weights;
  /// The size of the largest tensor. libllama reads one tensor at a time, so its read buffer is this large.
  Bytes largest_tensor;
};

/// Reads the header of a LoRA adapter and checks it against the model. Every `.lora_a` tensor must have its
/// `.lora_b` tensor; both must have shapes that fit the weight that they adapt, and types that ggml computes
/// with.
/// Errors: those of read_header; kInvalidArgument when the file is no LoRA adapter or belongs to another
/// model; kUnsupported for what brimful or llama.cpp cannot compute; kCorrupt. Holds no memory after it
/// returns.
[[nodiscard]] Result<LoraFile> read_lora(const std::filesystem::path& path, const ModelProfile& model);

/// Reads a control vector: the numbers that are added to the output of each layer. The result holds
/// `model.embedding` numbers for each layer, and begins with layer 1; a layer that the file leaves out has
/// zeros.
/// Errors: those of read_header; kInvalidArgument when the file is no control vector or belongs to another
/// model; kIo. Leaves no page cache behind.
[[nodiscard]] Result<std::vector<float>> read_control_vector(const std::filesystem::path& path,
                                                             const ModelProfile& model);

}  // namespace brimful::model
