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

/// A number of layers whose KV cache lies on a device. They begin where the layers of the previous device
/// end. The output counts as a layer, after the last one.
struct OffloadedLayers {
  tier::GpuDevice* device = nullptr;
  std::uint32_t layers = 0;
};

/// Which layers of a model libllama sees: those that write text, or also the last ones, which can draft.
enum class LoadedLayers { kWithoutHeads, kWithHeads };

/// Makes libllama's model on `device`, with its first layers on other devices. It has the structure and the
/// vocabulary, but no weight is read or allocated. `profile` is the one that the device was made for. The
/// devices outlive the model. Errors: kUnsupported, with libllama's reason; those of open_virtual_file.
[[nodiscard]] Result<ModelPtr> load_without_weights(const model::ModelProfile& profile,
                                                    tier::HostDevice& device,
                                                    std::span<const OffloadedLayers> offloaded = {},
                                                    LoadedLayers layers = LoadedLayers::kWithoutHeads);

}  // namespace brimful::engine
