#pragma once

#include <llama.h>

#include <filesystem>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"

namespace brimful::engine {

/// A file that changes what the model does, and how strongly.
struct AdapterOption {
  std::filesystem::path path;
  float scale = 1.0F;
};

/// The LoRA adapters and control vectors of one model, for each of its contexts.
/// An adapter's weights lie in host memory, counted, for as long as the model is loaded.
/// Threading: as the model's.
class Adapters {
 public:
  /// Reads the files; `room` is what the budget leaves now.
  /// Errors: those of read_lora and read_control_vector; kInfeasible, naming the bytes, where one is too
  /// large.
  [[nodiscard]] Status load(const std::vector<AdapterOption>& loras,
                            const std::vector<AdapterOption>& control_vectors,
                            const model::ModelProfile& profile, llama_model* model, Bytes room);

  /// Makes the context use them. Errors: kInternal.
  [[nodiscard]] Status apply(llama_context* context) const;

  /// The context's control vector once more: its memory is given back while graphs are only recorded.
  [[nodiscard]] Status apply_control_vector(llama_context* context) const;

 private:
  [[nodiscard]] Status load_lora(const AdapterOption& option, const model::ModelProfile& profile,
                                 llama_model* model, Bytes& room);

  std::vector<llama_adapter_lora*> loras_;  // the model's own
  std::vector<float> scales_;
  std::vector<float> control_vector_;  // the scaled sum of all; empty without one
  std::uint32_t embedding_ = 0;
  std::uint32_t layers_ = 0;
};

}  // namespace brimful::engine
