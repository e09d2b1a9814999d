#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/options.h"
#include "plan/host_plan.h"
#include "plan/option_names.h"
#include "tier/host/host_device.h"

namespace brimful::engine {

/// The memory of a process differs a little from run to run. A budget that we suggest, or a plan for another
/// process, leaves this number of bytes for that. Most of it is memory that a memory cgroup charges ahead of
/// use, on each processor.
[[nodiscard]] Bytes run_to_run();

/// A shape of a context. All numbers are tokens.
struct ContextShape {
  std::uint32_t context = 0;
  std::uint32_t ubatch = 0;
  /// The largest number of drafted tokens; 0: there are no drafts.
  std::uint32_t draft = 0;
  /// True: the next shape to try is the same one without drafts.
  bool can_go_without_draft = false;
  /// Whether the model's own heads draft.
  bool heads = false;
  /// True: the next shape to try is the same one without heads.
  bool can_go_without_heads = false;

  bool operator==(const ContextShape&) const = default;
};

/// The facts about a model that decide which shapes its context may have.
struct SizedModel {
  /// The model's file, for messages.
  std::string file;
  /// The context that the model was trained for, in tokens; 0: not known.
  std::uint32_t train_context = 0;
  /// Number of tokens of the vocabulary.
  std::int32_t vocabulary = 0;
  /// As OpenedModel::only_embeds().
  bool only_embeds = false;
  /// True: the model has no KV cache, so its context has no list of tokens.
  bool is_recurrent = false;
  bool has_draft_model = false;
  /// Unset where the model has none.
  Heads heads = Heads::kNone;
};

/// Chooses the shape of a context inside a host budget, and says what is missing when none fits. It does not
/// measure: all that was measured comes in as values. Pure. Thread-safe.
class ContextSizer {
 public:
  /// `budget`: the host budget. `names`: what messages call the options.
  ContextSizer(SizedModel model, Bytes budget, plan::OptionNames names)
      : model_(std::move(model)), budget_(budget), names_(std::move(names)) {}

  /// The shapes to try, the most wanted one first; at least one. What `options` names stays as it is.
  [[nodiscard]] std::vector<ContextShape> shapes_to_try(const ContextOptions& options) const;

  /// Checks whether a context of this shape holds the first prompt. Errors: kInvalidArgument.
  [[nodiscard]] Status check_prompt(const ContextOptions& options, ContextShape shape) const;
  /// Checks the list of tokens that libllama makes with a context. It fills this list at once, and not in our
  /// buffers: so call this before the context is made. `room`: bytes that the budget leaves now. Errors:
  /// kInfeasible.
  [[nodiscard]] Status check_list(ContextShape shape, Bytes room) const;

  /// HostDemand::growth, without what GPUs take in RAM. `buffers`: bytes of KV cache and compute buffers.
  [[nodiscard]] Bytes growth(const tier::Needs& needs, Bytes buffers, const ClientReserve& reserve) const;
  /// The smallest host budget that fits. A part of the demand grows with the budget.
  [[nodiscard]] Bytes least_budget(const plan::HostDemand& demand, const ClientReserve& reserve) const;
  /// The error of a demand that does not fit: the missing bytes, and changes that would fit. `note`: what the
  /// user should know about the budget, or nothing. Requires: demand.least() is more than the budget.
  [[nodiscard]] Error infeasible(const plan::HostDemand& demand, const ContextOptions& options,
                                 ContextShape shape, const std::optional<std::string>& note) const;

  /// Whether a smaller ubatch is better, because memory for longer ones is better spent on resident weights.
  /// Only long ubatches that the user has not asked for can be too dear.
  [[nodiscard]] bool ubatch_is_dear(const ContextOptions& options, ContextShape shape,
                                    const plan::HostDemand& demand) const;
  /// Whether the model's own heads may pay: passes wait for the disk or for `devices`, and the heads' weights
  /// are few. `heads`: bytes of weights that only the heads use.
  [[nodiscard]] bool heads_pay(const plan::Placement& placement, Bytes heads, bool devices) const;
  /// Whether compiled passes of drafts would take too much of the budget, in a placement of `units` units.
  [[nodiscard]] bool drafts_are_dear(const tier::Needs& needs, std::size_t units) const;

 private:
  [[nodiscard]] std::vector<ContextShape> with_drafts(const std::vector<ContextShape>& shapes,
                                                      const DraftOptions& options) const;

  const SizedModel model_;
  const Bytes budget_;
  const plan::OptionNames names_;
};

/// Notes for people about how `chosen` differs from `wanted`. `names`: what they call the options.
[[nodiscard]] std::vector<std::string> notes_on_shape(ContextShape wanted, ContextShape chosen,
                                                      const plan::OptionNames& names);

}  // namespace brimful::engine
