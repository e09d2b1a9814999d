#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/context.h"
#include "engine/context_sizer.h"
#include "engine/gpu_tier.h"
#include "engine/opened_model.h"
#include "engine/options.h"
#include "engine/ram_budget.h"
#include "plan/host_plan.h"

namespace brimful::engine {

/// What was prepared: the plan of a context that is made, and that fits the budgets.
struct Prepared {
  /// What was asked for, with the context and the ubatch that were chosen. Preparing these options again
  /// gives the same shapes.
  ContextOptions options;
  /// The drafts that were asked for.
  DraftOptions drafts;
  /// Where the host's weights will lie. Empty once Starter::start() has taken it.
  plan::HostPlan plan;
  /// Notes for people about everything that was adapted to the budget.
  std::vector<std::string> notes;
};

/// Makes the context and the plan of an opened model. It tries one shape after the other, as ContextSizer
/// names them: a context of that shape is made, its demand is measured, and the GPUs are filled. Threading:
/// one thread at a time.
class Preparer {
 public:
  /// All arguments outlive this.
  Preparer(RamBudget& ram, OpenedModel& model, GpuTier& gpus, Context& context)
      : ram_(ram), model_(model), gpus_(gpus), context_(context) {}

  /// Prepares a context with these options. Reads no weight. Requires: nothing is placed. Errors:
  /// kInvalidArgument for a prompt that is longer than the context, or a context that llama.cpp refuses;
  /// kInfeasible: the message has the missing bytes, and changes that would fit; kUnsupported for a model
  /// that cannot be used with these options.
  [[nodiscard]] Result<Prepared> prepare(const ContextOptions& wanted);

 private:
  [[nodiscard]] Result<std::optional<plan::HostPlan>> try_shape(const ContextSizer& sizer,
                                                                const ContextOptions& options,
                                                                ContextShape shape, bool last);
  [[nodiscard]] Result<plan::HostDemand> demand(const ContextSizer& sizer,
                                                const ContextOptions& options) const;
  [[nodiscard]] Status fill_gpus(const ContextOptions& options, ContextShape shape,
                                 const plan::HostDemand& whole);
  [[nodiscard]] Status load_on_gpus(const plan::DeviceSplit& split);

  RamBudget& ram_;
  OpenedModel& model_;
  GpuTier& gpus_;
  Context& context_;
};

}  // namespace brimful::engine
