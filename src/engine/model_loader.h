#pragma once

#include <llama.h>

#include <memory>
#include <span>

#include "base/result.h"
#include "model/model_profile.h"
#include "tier/gpu/gpu_device.h"
#include "tier/host/host_device.h"

namespace brimful::engine {

struct ModelFree {
  void operator()(llama_model* m) const { llama_model_free(m); }
};
using ModelPtr = std::unique_ptr<llama_model, ModelFree>;

/// Layers whose KV cache lies on a device: so many from where the device before ends. The output counts as a
/// layer, behind the last one.
struct OffloadedLayers {
  tier::GpuDevice* device = nullptr;
  std::uint32_t layers = 0;
};

/// Makes libllama's model on `device`, and its first layers on others: its structure and vocabulary, and no
/// weight, neither read nor in memory. `profile` is the one that the device was made for; the model must not
/// outlive the devices. Errors: kUnsupported, with libllama's reason; those of open_virtual_file.
[[nodiscard]] Result<ModelPtr> load_without_weights(const model::ModelProfile& profile,
                                                    tier::HostDevice& device,
                                                    std::span<const OffloadedLayers> offloaded = {});

}  // namespace brimful::engine
