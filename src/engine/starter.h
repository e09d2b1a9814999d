#pragma once

#include "base/result.h"
#include "engine/context.h"
#include "engine/gpu_tier.h"
#include "engine/opened_model.h"
#include "engine/preparer.h"
#include "engine/ram_budget.h"
#include "memory/pool.h"
#include "tier/host/host_device.h"

namespace brimful::engine {

/// Puts the weights of a prepared model in their places, and takes them away again. Threading: one thread at
/// a time.
class Starter {
 public:
  using Progress = tier::HostDevice::Progress;

  /// All arguments outlive this.
  Starter(RamBudget& ram, OpenedModel& model, GpuTier& gpus, Context& context, Preparer& preparer)
      : ram_(ram), model_(model), gpus_(gpus), context_(context), preparer_(preparer) {}

  /// place(), and fit_drivers() where drivers are asked (OpenOptions::held_on_device). Errors: those of both.
  [[nodiscard]] Status start(Prepared& prepared, const Progress& progress);

  /// Places the weights as planned, and takes the plan out of `prepared`. Blocks: until all resident weights
  /// are read; `progress` may cancel that. Requires: `prepared` is the newest result of the preparer, and
  /// nothing is placed. Errors: kBudgetExceeded, kIo, kCancelled.
  [[nodiscard]] Status place(Prepared& prepared, const Progress& progress);
  /// Measures what drivers take, and prepares and places everything again until that is what was planned;
  /// `prepared` is then the newest result. The context is empty afterwards. Requires: drivers are asked, and
  /// place() succeeded. Errors: those of prepare() and place(); kInfeasible when a driver alone takes more
  /// than a device's budget; kBudgetExceeded when drivers take more each time.
  [[nodiscard]] Status fit_drivers(Prepared& prepared, const Progress& progress);

  /// Removes the host's weights from memory; the devices stop to send them first. Errors: those of
  /// HostDevice::displace().
  [[nodiscard]] Status displace_weights();
  /// Gives back everything except the vocabulary. The context is freed. Requires: displace_weights().
  /// Errors: those of DraftModel::displace().
  [[nodiscard]] Status give_back();

 private:
  RamBudget& ram_;
  OpenedModel& model_;
  GpuTier& gpus_;
  Context& context_;
  Preparer& preparer_;
  memory::Reservation runtime_;  // HostPlan::runtime(), while the weights are placed
};

}  // namespace brimful::engine
