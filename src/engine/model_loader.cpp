#include "engine/model_loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "engine/llama_log.h"
#include "model/virtual_file.h"

namespace brimful::engine {

Result<ModelPtr> load_without_weights(const model::ModelProfile& profile, tier::HostDevice& device,
                                      std::span<const OffloadedLayers> offloaded, LoadedLayers which) {
  BRIMFUL_TRY(const model::FilePtr file, model::open_virtual_file(profile));
  // libllama gives the layers to the devices in these proportions, beginning with the first layer.
  std::vector<ggml_backend_dev_t> devices;
  std::vector<float> layers;
  std::uint32_t left = profile.layers + 1;
  for (const auto& [offload, count] : offloaded) {
    devices.push_back(offload->handle());
    layers.push_back(static_cast<float>(std::min(count, left)));
    left -= std::min(count, left);
  }
  devices.insert(devices.end(), {device.handle(), nullptr});
  layers.push_back(static_cast<float>(left));
  layers.resize(std::max(layers.size(), llama_max_devices()));
  const llama_model_tensor_buft_override overrides[] = {{".*", device.weight_buffer_type()},
                                                        {nullptr, nullptr}};
  llama_model_params params = llama_model_default_params();
  params.devices = devices.data();
  params.tensor_split = layers.data();
  params.tensor_buft_overrides = overrides;
  params.n_gpu_layers = -1;
  params.load_mode = LLAMA_LOAD_MODE_NONE;
  params.lazy_mode = LLAMA_LAZY_MODE_OFF;
  params.load_mtp = which == LoadedLayers::kWithHeads;
  params.use_extra_bufts = false;  // a weight has the same layout wherever it lies
  std::ignore = take_first_llama_error();
  device.begin_loading();
  ModelPtr model(llama_model_load_from_file_ptr(file.get(), params));
  device.end_loading(model != nullptr);
  if (model != nullptr) return model;
  const std::string why = take_first_llama_error();
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: llama.cpp cannot load this model{}", profile.files.front().path.string(),
                          why.empty() ? "" : fmt::format(" ({})", why)));
}

}  // namespace brimful::engine
