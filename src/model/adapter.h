#pragma once

#include <filesystem>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"

// Files that change what a model does: they are as untrusted as the model's own.

namespace brimful::model {

/// What a LoRA adapter's header says, so that libllama may be given the file.
struct LoraFile {
  ModelFile file;
  Bytes weights;         ///< of all its tensors
  Bytes largest_tensor;  ///< libllama reads one at a time
};

/// Reads the header and checks it against the model: every tensor has its pair, and both have the shapes of
/// the weight that they adapt, in types that ggml computes with.
/// Errors: those of read_model; kInvalidArgument where it belongs to another model. Holds nothing.
[[nodiscard]] Result<LoraFile> read_lora(const std::filesystem::path& path, const ModelProfile& model);

/// What a control vector adds to the output of each layer: `model.embedding` numbers a layer from layer 1 on;
/// zeros for a layer that the file leaves out.
/// Errors: those of read_model; kInvalidArgument where it belongs to another model. Leaves no page cache.
[[nodiscard]] Result<std::vector<float>> read_control_vector(const std::filesystem::path& path,
                                                             const ModelProfile& model);

}  // namespace brimful::model
