#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "hardware/profile.h"
#include "model/model_profile.h"
#include "plan/graph_work.h"

namespace brimful::plan {

/// The share of a context that is in use on average while it fills.
inline constexpr double kUsedShareOfContext = 0.5;

/// Rates of a step of one token on the host's cores and on a device, as far as they decide where the KV cache
/// lies. All are positive.
struct StepRates {
  /// Seconds that the cores take for each byte of the layers' weights, experts left out.
  double weights_on_host = 0;
  /// The cores' attention with keys and values in F16, and in a quantised type.
  hardware::Attention attention;
  hardware::Attention quantised_attention;
  /// Bytes per second that the cores read from memory.
  double host_memory = 0;
  /// Bytes per second that the device reads from its own memory.
  double device_memory = 0;
};

/// The rates of this machine and a GPU of it. Unset where one of the cores' rates is not known. Pure.
/// Requires: `machine` has kernels.
[[nodiscard]] std::optional<StepRates> step_rates(const model::ModelProfile& profile,
                                                  const hardware::Profile& machine, const hardware::Gpu& gpu);

/// What the parts of a step cost, in seconds, by where the weights and the KV cache lie.
struct StepCosts {
  /// For each byte of weights.
  double weights_on_host = 0;
  double weights_on_device = 0;
  /// For each byte of the whole KV cache, of which kUsedShareOfContext is in use.
  double cells_on_host = 0;
  double cells_on_device = 0;
  /// To leave a place in the middle of a layer, and to come back.
  double detour = 0;
};

/// The costs of a step whose attention is that of `decode`. Unset where it has no attention. Pure. Formula:
/// a byte of cells on the host takes multiplications / rate or 1 / memory rate, whichever is longer. On the
/// device it takes the time of reading it.
[[nodiscard]] std::optional<StepCosts> step_costs(const StepRates& rates, const GraphWork& decode);

/// The memory that a layer can take on a device.
struct LayerBytes {
  /// The weights that every token uses.
  Bytes weights;
  /// The KV cache, or another state.
  Bytes cells;
  /// Whether every step leaves the device in this layer anyway, for experts on the host.
  bool left_anyway = false;
};

/// The number of first layers whose cells lie on the device, so that a step takes the least time, where the
/// weights of as many first layers as fit lie in what is left of `room`; those of a layer without cells there
/// only where they save more than the detour. Where that is hardly faster than cells beside their weights,
/// the number with which both lie there. Pure.
[[nodiscard]] std::uint32_t layers_with_cells(std::span<const LayerBytes> layers, Bytes room,
                                              const StepCosts& costs);

}  // namespace brimful::plan
