#pragma once

#include <vector>

#include "hardware/profile.h"
#include "plan/graph_work.h"
#include "plan/placement.h"

namespace brimful::plan {

/// The part of the machine that a pass keeps busy for the longest time.
enum class Bound { kCompute, kRam, kDisk, kDevice, kLink };
[[nodiscard]] std::string_view to_string(Bound bound);

[[nodiscard]] double bytes_per_weight(ggml_type type);

/// Of the cores, by themselves. Pure. Requires: kernels.
[[nodiscard]] double product_seconds(const Products& products, const hardware::Compute& compute);

/// What one pass asks of a machine.
struct PassLoad {
  GraphWork work;
  std::int64_t cells = 0;  ///< of the KV cache that are in use
  Bytes streamed;          ///< read in the order of the pass, beside the computing
  struct Rearranged {
    ggml_type type;
    Bytes bytes;
  };
  std::vector<Rearranged> rearranged;  ///< of these
  std::int64_t runs = 1;
  std::int64_t streamed_runs = 0;  ///< of these: each waits for the last of its reads
  Bytes expert_reads;              ///< chosen experts that no slot holds: read while the computing waits
  Bytes expert_part;               ///< one read of them
  std::int64_t expert_steps = 0;   ///< layers that wait for such reads
};

/// How long a pass takes, and the parts of that time. Each part is what it would take if nothing else ran, so
/// that parts which overlap add up to more than `seconds`.
struct PassCost {
  double seconds = 0;
  double compute_seconds = 0;  ///< of the cores
  double disk_seconds = 0;     ///< reads of the bytes that stream
  double expert_seconds = 0;   ///< reads of chosen experts that no slot holds
  double device_seconds = 0;   ///< of GPUs
  double link_seconds = 0;     ///< weights, rows and waits between the host and GPUs
  bool waits_for_ram = false;  ///< the cores wait for memory more than they compute
  Bytes reads;                 ///< that the pass is expected to take from the disk

  /// The longest part: reads of either kind count as the disk's.
  [[nodiscard]] Bound bound_by() const;
  /// Adds a pass that follows. Whether the cores wait for memory stays as it is.
  PassCost& operator+=(const PassCost& next);
};

/// A pass of `work` over weights that lie as `placement` says, with `cells` of the KV cache in use. Nothing
/// is known of routers: each expert is as likely as another. Pure.
[[nodiscard]] PassLoad load_of(const GraphWork& work, std::int64_t cells, const model::ModelProfile& profile,
                               const std::vector<TensorUse>& uses, const Placement& placement);

/// Seconds on `machine`: docs/design-plan.md has the formulas. More of any rate is never slower. Pure.
/// Requires: kernels in the profile; reads where something is read.
[[nodiscard]] PassCost cost_of(const PassLoad& load, const hardware::Profile& machine);

/// Seconds until resident weights are read, rearranged and in place. Pure.
[[nodiscard]] double load_seconds(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                                  const Placement& placement, Bytes other_memory,
                                  const hardware::Profile& machine);

/// Seconds until both of two things are done, which run beside one another until one is done: then the other
/// goes on alone. `beside`: the share of its own rate that each has meanwhile, in (0, 1].
[[nodiscard]] double run_beside(double first_seconds, double first_beside, double second_seconds,
                                double second_beside);

}  // namespace brimful::plan
