#pragma once

#include <llama.h>

#include <memory>

#include "base/result.h"
#include "model/model_profile.h"
#include "tier/device.h"

namespace strata::engine {

struct ModelFree {
  void operator()(llama_model* m) const { llama_model_free(m); }
};
using ModelPtr = std::unique_ptr<llama_model, ModelFree>;

/// Makes libllama's model on `device`: its structure and vocabulary, and no weight, neither read nor in
/// memory. `profile` is the one that the device was made for; the model must not outlive the device. Errors:
/// kUnsupported, with libllama's reason; those of open_virtual_file.
[[nodiscard]] Result<ModelPtr> load_without_weights(const model::ModelProfile& profile, tier::Device& device);

}  // namespace strata::engine
