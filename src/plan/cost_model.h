#pragma once

#include <vector>

#include "hardware/profile.h"
#include "plan/graph_work.h"
#include "plan/placement.h"

namespace strata::plan {

/// What ends last in a pass.
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

struct PassCost {
  double seconds = 0;
  double compute_seconds = 0;  ///< of the cores, if nothing else ran
  double disk_seconds = 0;     ///< of the streamed bytes, if nothing else ran
  double expert_seconds = 0;   ///< waiting for experts
  Bound bound_by = Bound::kCompute;
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

/// Of two things that run beside one another, and each alone when the other is done: see docs/design-plan.md.
/// `beside`: the share of its own rate that each has meanwhile, in (0, 1].
struct Beside {
  double seconds = 0;
  bool first_is_last = false;  ///< the first one ended last
};
[[nodiscard]] Beside run_beside(double first_seconds, double first_beside, double second_seconds,
                                double second_beside);

}  // namespace strata::plan
