#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "engine/context.h"
#include "engine/gpu_tier.h"
#include "engine/opened_model.h"
#include "engine/options.h"
#include "engine/preparer.h"
#include "engine/ram_budget.h"
#include "engine/saved_sequence.h"
#include "engine/starter.h"

namespace brimful::engine {

/// Changes the budgets of a started model: the text is saved, everything is given back, and the model is
/// prepared and started inside the new budgets (docs/design-budgets.md). Threading: one thread at a time.
class BudgetSwitch {
 public:
  /// All arguments outlive this.
  BudgetSwitch(RamBudget& ram, OpenedModel& model, GpuTier& gpus, Context& context, Preparer& preparer,
               Starter& starter)
      : ram_(ram), model_(model), gpus_(gpus), context_(context), preparer_(preparer), starter_(starter) {}

  /// Plans and starts again inside other budgets, with the same context, ubatch and text, so that the
  /// following tokens stay the same. Call it between passes only; the logits of the last pass are lost.
  /// `prepared`: what was started; it is then what runs now. Errors: kInvalidArgument for a device that is
  /// not used; kInfeasible, also for a device budget that is larger than the device's memory or smaller than
  /// its driver's part; kIo when the text cannot be saved (in the folder for temporary files);
  /// kBudgetExceeded. After an error the old budgets hold, unless can_go_on() is false.
  [[nodiscard]] Status change(Prepared& prepared, const BudgetChange& wanted);
  /// False when change() failed half-way. Nothing can be computed any more then.
  [[nodiscard]] bool can_go_on() const { return can_go_on_; }

 private:
  /// The budgets that change together, and what the user is told about the one in RAM.
  struct Budgets {
    BudgetChange bytes;
    std::optional<std::string> note;
  };

  [[nodiscard]] Status carry_out(Prepared& prepared, const Budgets& wanted);
  [[nodiscard]] Status start_inside(Prepared& prepared, const Budgets& budgets,
                                    const std::optional<SavedSequence>& sequence);
  [[nodiscard]] Status restart(Prepared& prepared, const std::optional<SavedSequence>& sequence);
  [[nodiscard]] Status restore(const std::optional<SavedSequence>& sequence);

  RamBudget& ram_;
  OpenedModel& model_;
  GpuTier& gpus_;
  Context& context_;
  Preparer& preparer_;
  Starter& starter_;
  bool can_go_on_ = true;
};

}  // namespace brimful::engine
