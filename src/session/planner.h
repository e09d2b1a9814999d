#pragma once

#include <sampling.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "plan/advice.h"
#include "plan/option_names.h"
#include "session/notes.h"
#include "session/open_options.h"
#include "session/plan_shape.h"

namespace brimful::session {

/// What is planned, and for which machine. Everything is an argument: a Planner measures nothing.
struct PlanRequest {
  /// How the model is opened: its file, the budget of RAM, threads, adapters, drafts. It names no GPU.
  engine::OpenOptions open;
  /// What model::read_model() said about that file. Its weights may be missing.
  model::ModelProfile profile;
  hardware::Profile machine;
  /// Whether `machine` is another one than this. Its RAM counts then.
  bool elsewhere = false;
  /// Whether `open` has the user's own number of threads. If not, another machine computes with its own.
  bool threads_given = false;
  /// The budgets of GPUs of `machine`, see plan_devices().
  std::optional<std::vector<VramPart>> vram;
  /// Which weights may lie on these GPUs.
  Placement placement;
  /// What the face calls its options, for messages.
  plan::OptionNames names;
  /// Whether the report says what would be better. That takes several times as long as the plan.
  bool advice = true;
};

/// A plan, with everything that can be said about it.
struct PlanReport {
  plan::Inputs inputs;
  plan::Plan plan;
  /// Notes for people on what was adapted, such as to the budget.
  std::vector<std::string> notes;
  /// What slows the machine down (hardware::diagnostics).
  std::vector<std::string> diagnostics;
  /// What would be better, with the speed that it would give. The largest gain comes first.
  std::vector<plan::Change> changes;
  /// The number of threads that compute.
  int threads = 1;
  /// Whether the plan is for another machine than this one.
  bool elsewhere = false;
};

/// Plans a model in three steps, without reading a weight: open() it, prepare a context with engine(), and
/// make the plan() for it. GPUs are not touched: what lies on them is computed. Threading: as Engine.
class Planner {
 public:
  /// Opens the model. Blocks: as long as the vocabulary takes to load. Errors: those of Engine::open(),
  /// plan_devices() and plan::placement_rules().
  [[nodiscard]] static Result<Planner> open(PlanRequest request);

  /// The engine, whose context the caller prepares. Lifetime: as the planner.
  [[nodiscard]] engine::Engine& engine() { return *engine_; }
  /// Adds a note to the report.
  void note(std::string text) { notes_.push_back(std::move(text)); }
  /// Makes the plan of the context for which the engine is prepared, and the advice. `context` is what was
  /// asked of the engine: other shapes for the advice are made from it. The engine is prepared for another
  /// context afterwards. Requires: Engine::prepare() succeeded. Errors: those of plan::make_plan().
  [[nodiscard]] Result<PlanReport> plan(const engine::ContextOptions& context,
                                        const plan::Workload& workload);

 private:
  Planner(PlanRequest request, std::vector<plan::DeviceBudget> devices, plan::PlacementFilter filter);

  PlanRequest request_;
  std::vector<plan::DeviceBudget> devices_;
  plan::PlacementFilter filter_;
  std::vector<std::string> notes_;
  std::unique_ptr<engine::Engine> engine_;
  double open_seconds_ = 0;
};

/// What is planned for requests that share nothing: a chat, or several of them.
struct RunToPlan {
  /// The context that was asked for. What is open is chosen.
  engine::ContextOptions context;
  PlannedRequests requests;
  /// How answers are sampled.
  common_params_sampling sampling;
  /// Whether prompts are made with the model's chat template, if it has one.
  bool with_template = true;
};

/// Makes the whole report of such a run. Reads no weight. Errors: kInfeasible when the model does not fit;
/// all others mean that it could not be found out.
[[nodiscard]] Result<PlanReport> plan_run(PlanRequest request, RunToPlan run);

}  // namespace brimful::session
