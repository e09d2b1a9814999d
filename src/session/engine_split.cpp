#include "session/engine_split.h"

#include <algorithm>
#include <utility>

namespace brimful::session {

plan::DeviceSplit split_of(const engine::Engine& engine, const hardware::Profile& machine) {
  plan::DeviceSplit out;
  std::uint32_t layers = 0;
  for (engine::DeviceUse& use : engine.devices()) {
    const auto known = std::ranges::find(machine.gpus, use.share.gpu.name, &hardware::Gpu::name);
    if (known != machine.gpus.end()) use.share.gpu = *known;
    out.weights += use.share.weights + use.share.experts;
    layers += use.share.layers;
    out.devices.push_back(std::move(use.share));
  }
  if (engine.profile().layers > 0)
    out.share_of_attention = static_cast<double>(layers) / engine.profile().layers;
  return out;
}

}  // namespace brimful::session
