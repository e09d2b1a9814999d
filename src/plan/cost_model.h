#pragma once

#include <brimful/forecast.h>

#include <vector>

#include "hardware/profile.h"
#include "plan/graph_work.h"
#include "plan/placement.h"

namespace brimful::plan {

/// Bytes of one value of this type; a fraction for quantised types.
[[nodiscard]] double bytes_per_weight(ggml_type type);

/// The share of a device's memory rate that its products of one token reach: docs/adr/0021.
inline constexpr double kDeviceEfficiency = 0.9;
/// The rate at which a device reads its memory where nobody knows it, in bytes per second.
inline constexpr double kUnknownMemoryRate = 300e9;
/// The time to leave a device in the middle of a layer for products on the host, and to come back: the host
/// waits until the device has done what was queued, fetches the rows and the router's choice, wakes its
/// threads, sends the result back and starts the next kernels.
inline constexpr double kSecondsPerDetour = 0.3e-3;

/// The cores' rate of attention for one token in heads of `head` values (0: not known), divided by that in
/// heads of 128. Pure.
[[nodiscard]] double share_of_heads(std::int64_t head, const hardware::Attention& attention);

/// Seconds that the cores take for `products` while nothing else runs. Pure. Requires: `compute` has kernels.
[[nodiscard]] double product_seconds(const Products& products, const hardware::Compute& compute);

/// What one pass needs of a machine.
struct PassLoad {
  GraphWork work;
  /// Cells of the KV cache that are in use.
  std::int64_t cells = 0;
  /// Bytes that are read in the order of the pass, while the cores compute.
  Bytes streamed;
  struct Rearranged {
    ggml_type type;
    Bytes bytes;
  };
  /// The part of the bytes read that is rearranged for ggml-cpu's own kernels, by type of weight.
  std::vector<Rearranged> rearranged;
  /// Segments that the pass is computed in.
  std::int64_t segments = 1;
  /// Segments among them that wait for the last of their reads.
  std::int64_t streamed_segments = 0;
  /// Bytes of chosen experts that no slot holds. They are read while the compute waits.
  Bytes expert_reads;
  /// Bytes of one read of experts.
  Bytes expert_part;
  /// Layers that wait for reads of experts.
  std::int64_t expert_steps = 0;
};

/// The time of a pass, and the parts of that time. Each part is the time it would take if nothing else ran.
/// Parts overlap, so they may add up to more than `seconds`.
struct PassCost {
  double seconds = 0;
  /// The cores' part.
  double compute_seconds = 0;
  /// Reads of the bytes that stream.
  double disk_seconds = 0;
  /// Reads of chosen experts that no slot holds.
  double expert_seconds = 0;
  /// The GPUs' part.
  double device_seconds = 0;
  /// Weights and rows that cross between the host and GPUs, and the waits for them.
  double link_seconds = 0;
  /// Whether the cores wait for memory more than they compute.
  bool waits_for_ram = false;
  /// Bytes that the pass is expected to read from the disk.
  Bytes reads;
  /// Bytes of weights that cross to GPUs while the cores compute: rows of the host's matrices.
  Bytes rows_sent;

  /// The part that takes longest. Both kinds of reads count as the disk's.
  [[nodiscard]] Bound bound_by() const;
  /// Adds a pass that follows. `waits_for_ram` stays as it is.
  PassCost& operator+=(const PassCost& next);
};

/// The load of a pass of `work` over weights that lie as `placement` says, with `cells` cells of the KV cache
/// in use. Nothing is known about routers: each expert is as likely as another. Pure.
[[nodiscard]] PassLoad load_of(const GraphWork& work, std::int64_t cells, const model::ModelProfile& profile,
                               const std::vector<TensorUse>& uses, const Placement& placement);

/// The cost of a pass on `machine`; docs/design-plan.md has the formulas. A higher rate of the machine never
/// gives more seconds. Pure. Requires: `machine` has kernels, and reads if something is read.
[[nodiscard]] PassCost cost_of(const PassLoad& load, const hardware::Profile& machine);

/// Seconds until all memory is made present, and the resident weights are read, rearranged and in place.
/// `other_memory` is what the process fills beside the arena. Pure.
[[nodiscard]] double load_seconds(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                                  const Placement& placement, Bytes other_memory,
                                  const hardware::Profile& machine);

/// Seconds until both of two things are done. They run beside each other until one is done; then the other
/// goes on alone. `first_seconds` and `second_seconds` are their times alone. `first_beside` and
/// `second_beside` are the shares of its own rate that each has while both run, in (0, 1].
[[nodiscard]] double run_beside(double first_seconds, double first_beside, double second_seconds,
                                double second_beside);

}  // namespace brimful::plan
