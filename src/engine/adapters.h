#pragma once

#include <llama.h>

#include <filesystem>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"

namespace brimful::engine {

/// A LoRA adapter or a control vector: its file, and the factor that its effect is multiplied by.
struct AdapterOption {
  std::filesystem::path path;
  float scale = 1.0F;
};

/// The LoRA adapters and control vectors of one model, for each of its contexts. The weights of LoRA adapters
/// lie in host memory, which is counted, as long as the model is loaded. Threading: as the model.
class Adapters {
 public:
  /// Reads the files. `room` is the number of bytes that the budget leaves now, and `budget_name` is what
  /// messages call the budget. Errors: those of read_lora and read_control_vector; kInfeasible when an
  /// adapter is too large, with the number of bytes.
  [[nodiscard]] Status load(const std::vector<AdapterOption>& loras,
                            const std::vector<AdapterOption>& control_vectors,
                            const model::ModelProfile& profile, llama_model* model, Bytes room,
                            std::string_view budget_name);

  /// Makes the context use all adapters and control vectors. Errors: kInternal.
  [[nodiscard]] Status apply(llama_context* context) const;

  /// Sets the context's control vector again. This is needed after graphs were recorded, because the memory
  /// of the control vector is given back then.
  [[nodiscard]] Status apply_control_vector(llama_context* context) const;

 private:
  [[nodiscard]] Status load_lora(const AdapterOption& option, const model::ModelProfile& profile,
                                 llama_model* model, Bytes& room, std::string_view budget_name);

  std::vector<llama_adapter_lora*> loras_;  // the model owns them
  std::vector<float> scales_;
  std::vector<float> control_vector_;  // the scaled sum of all control vectors; empty when there is none
  std::uint32_t embedding_ = 0;
  std::uint32_t layers_ = 0;
};

}  // namespace brimful::engine
