#include "plan/kv_placement.h"

#include <algorithm>
#include <cmath>

#include "plan/cost_model.h"

namespace brimful::plan {
namespace {

// Cells and weights of a layer lie in different places only where a step takes at most this share of the time
// that it takes with both beside each other: the costs are rough.
constexpr double kWorthAnotherPlace = 0.95;

/// Seconds of a step where the cells of the first `cells` layers lie on the device. `room` is what they
/// leave.
double step_seconds(std::span<const LayerBytes> layers, std::size_t cells, Bytes room,
                    const StepCosts& costs) {
  double out = 0;
  bool fits = true;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerBytes& layer = layers[i];
    const bool has_cells = i < cells && layer.cells > Bytes{};
    const auto weights = static_cast<double>(layer.weights.value);
    const bool pays = has_cells || layer.cells == Bytes{} ||
                      weights * (costs.weights_on_host - costs.weights_on_device) > costs.detour;
    fits = fits && pays && layer.weights <= room;
    if (fits) room -= layer.weights;
    const auto bytes = static_cast<double>(layer.cells.value);
    out += weights * (fits ? costs.weights_on_device : costs.weights_on_host);
    out += bytes * (has_cells ? costs.cells_on_device : costs.cells_on_host);
    const bool divided = layer.cells > Bytes{} && has_cells != fits;
    if (divided || (fits && layer.left_anyway)) out += costs.detour;
  }
  return out;
}

}  // namespace

std::optional<StepRates> step_rates(const model::ModelProfile& profile, const hardware::Profile& machine,
                                    const hardware::Gpu& gpu) {
  double seconds = 0;
  double bytes = 0;
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (!tensor.is_dense_matrix_of_layer()) continue;
    const auto weights = static_cast<double>(tensor.rows() * tensor.shape[0]);
    seconds += product_seconds({tensor.type, true, false, 1, weights, tensor.shape[0]}, machine.compute);
    bytes += static_cast<double>(tensor.bytes.value);
  }
  const StepRates out{
      .weights_on_host = bytes > 0 ? seconds / bytes : 0,
      .attention = machine.compute.attention,
      .quantised_attention = machine.compute.quantised_attention,
      .host_memory = machine.ram.read_bytes_per_s,
      .device_memory = gpu.memory_bytes_per_s.value_or(kUnknownMemoryRate) * kDeviceEfficiency};
  const bool known = out.weights_on_host > 0 && out.attention.decode_multiplications_per_s > 0 &&
                     out.quantised_attention.decode_multiplications_per_s > 0 && out.host_memory > 0;
  return known ? std::optional(out) : std::nullopt;
}

std::optional<StepCosts> step_costs(const StepRates& rates, const GraphWork& decode) {
  if (decode.attention == Bytes{} || decode.attention_multiplications <= 0) return std::nullopt;
  const hardware::Attention& attention = decode.quantised_cache ? rates.quantised_attention : rates.attention;
  const auto read = static_cast<double>(decode.attention.value);
  const double multiplied = decode.attention_multiplications /
                            (attention.decode_multiplications_per_s * share_of_heads(decode.head, attention));
  return StepCosts{.weights_on_host = rates.weights_on_host,
                   .weights_on_device = 1 / rates.device_memory,
                   .cells_on_host = kUsedShareOfContext * std::max(multiplied / read, 1 / rates.host_memory),
                   .cells_on_device = kUsedShareOfContext / rates.device_memory,
                   .detour = kSecondsPerDetour};
}

std::uint32_t layers_with_cells(std::span<const LayerBytes> layers, Bytes room, const StepCosts& costs) {
  std::size_t beside = 0;
  Bytes taken;
  for (; beside < layers.size(); ++beside) {
    const LayerBytes& layer = layers[beside];
    if (taken + layer.weights + layer.cells > room) break;
    taken += layer.weights + layer.cells;
  }
  std::size_t best = 0;
  double least = 0;
  double of_beside = 0;
  Bytes left = room;
  for (std::size_t cells = 0; cells <= layers.size(); ++cells) {
    if (cells > 0 && layers[cells - 1].cells > left) break;
    if (cells > 0) left -= layers[cells - 1].cells;
    const double seconds = step_seconds(layers, cells, left, costs);
    if (cells == beside) of_beside = seconds;
    if (cells > 0 && seconds >= least) continue;
    least = seconds;
    best = cells;
  }
  return static_cast<std::uint32_t>(least < of_beside * kWorthAnotherPlace ? best : beside);
}

}  // namespace brimful::plan
