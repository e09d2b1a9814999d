#pragma once

#include <llama.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/budget_switch.h"
#include "engine/context.h"
#include "engine/gpu_tier.h"
#include "engine/opened_model.h"
#include "engine/options.h"
#include "engine/preparer.h"
#include "engine/ram_budget.h"
#include "engine/starter.h"

namespace brimful::engine {

/// One model and one context, inside one host budget and one budget for each device. open() reads the header
/// and the vocabulary, prepare() makes the context and the plan, start() reads the resident weights, and
/// decode() computes. The work is done by one class for each of these states; this one connects them, for
/// callers. Threading: one thread at a time; abort() may be called by any thread and in a signal handler.
class Engine {
 public:
  /// Reads the model's header and vocabulary, and no weight. Errors: those of read_model and Adapters::load;
  /// kUnsupported when libllama refuses the model, or the model cannot be run here.
  [[nodiscard]] static Result<std::unique_ptr<Engine>> open(OpenOptions options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] const model::ModelProfile& profile() const { return model_->profile(); }
  /// What messages call the options, as OpenOptions::names says it.
  [[nodiscard]] const plan::OptionNames& names() const { return model_->options().names; }
  /// The same object as long as the engine lives, even when the model is loaded again for other devices.
  [[nodiscard]] const llama_model* model() const { return model_->get(); }
  [[nodiscard]] const llama_vocab* vocab() const { return model_->vocab(); }
  /// The first characters of the vocabulary's tokens. The first call makes them. Thread-safe.
  [[nodiscard]] const constraint::FirstCharacters& first_characters() const {
    return model_->first_characters();
  }
  /// A buffer for the candidates of one token. Each sampler fills it anew. Threading: as the engine.
  [[nodiscard]] std::vector<llama_token_data>& candidates() const { return model_->candidates(); }
  /// Whether the model writes no text, see OpenedModel::only_embeds().
  [[nodiscard]] bool only_embeds() const { return model_->only_embeds(); }
  /// Whether the model can give vectors of texts. Errors: kUnsupported, with the reason.
  [[nodiscard]] Status can_embed() const { return model_->can_embed(); }

  /// Makes the context and decides what start() will do. Reads no weight. May be called again with other
  /// options. Errors: those of Preparer::prepare().
  [[nodiscard]] Status prepare(const ContextOptions& options);
  /// The plan of the last prepare(). Requires: prepare() succeeded, and start() was not called.
  [[nodiscard]] const plan::HostPlan& plan() const { return prepared_.plan; }
  /// The options of the last prepare(), with the context and the ubatch that it has chosen. Requires:
  /// prepare() succeeded.
  [[nodiscard]] const ContextOptions& prepared() const { return prepared_.options; }
  /// The largest host budget that is possible now, see RamBudget::most(). Requires:
  /// OpenOptions::claims_memory is false.
  [[nodiscard]] Result<Bytes> most_budget() { return ram_->most(); }

  /// Places the weights as planned. If drivers report the bytes that they hold, it then computes the largest
  /// shapes once, and fills the devices again with the bytes that are left. Blocks: until all resident
  /// weights are read; `progress` may cancel that. Requires: prepare() succeeded. Errors: those of
  /// Starter::start().
  [[nodiscard]] Status start(const tier::HostDevice::Progress& progress);

  /// Plans and starts again inside other budgets, see BudgetSwitch::change(). Requires: start() succeeded.
  [[nodiscard]] Status change_budgets(const BudgetChange& change) {
    return switch_.change(prepared_, change);
  }
  /// False when change_budgets() failed half-way. Nothing can be computed any more then.
  [[nodiscard]] bool can_go_on() const { return switch_.can_go_on(); }

  /// Notes for people about everything that the last prepare(), start() and change_budgets() have adapted to
  /// the budget. Requires: prepare() succeeded.
  [[nodiscard]] const std::vector<std::string>& notes() const { return prepared_.notes; }
  /// The context; null before prepare(). prepare(), start() and change_budgets() may replace it.
  [[nodiscard]] llama_context* context() const { return context_.get(); }
  /// How the host budget is used now.
  [[nodiscard]] plan::MemoryMap memory_map() const;
  /// How each device of OpenOptions::offload is used. Requires: prepare() succeeded.
  [[nodiscard]] std::vector<DeviceUse> devices() const { return gpus_.uses(); }

  // The passes: see Context.
  [[nodiscard]] Status decode(std::span<const llama_token> tokens, bool logits = true) {
    return context_.decode(tokens, logits);
  }
  [[nodiscard]] Status decode(const llama_batch& batch) { return context_.decode(batch); }
  [[nodiscard]] Status verify(std::span<const llama_token> tokens) { return context_.verify(tokens); }
  [[nodiscard]] Status verify(const llama_batch& batch) { return context_.verify(batch); }
  [[nodiscard]] Status keep_verified(std::size_t tokens) { return context_.keep_verified(tokens); }
  [[nodiscard]] std::size_t room_for_draft(std::size_t computed) const {
    return context_.room_for_draft(computed);
  }
  [[nodiscard]] std::size_t draft_within(std::size_t drafted) const { return context_.draft_within(drafted); }
  [[nodiscard]] std::size_t longest_draft() const { return context_.longest_draft(); }
  void keep_hidden_states(bool on) { context_.keep_hidden_states(on); }
  [[nodiscard]] Result<std::vector<float>> hidden_state(std::size_t nth) const {
    return context_.hidden_state(nth);
  }
  void abort() { context_.abort(); }
  void resume() { context_.resume(); }

  /// What computes drafts: the draft model, or the model's own heads; null when there is neither. prepare()
  /// makes its context, and start() reads its weights.
  [[nodiscard]] Drafter* drafter() const { return model_->drafter(); }
  /// The drafts that hold. Requires: prepare() succeeded.
  [[nodiscard]] const DraftOptions& draft_options() const { return prepared_.drafts; }

  /// The largest number of bytes that the process has held with its current budget, as the kernel counts
  /// them.
  [[nodiscard]] std::optional<Bytes> peak_bytes() const { return ram_->peak(); }
  /// The earlier budgets, the first one first, and the largest number of bytes that the process has held with
  /// each.
  [[nodiscard]] const std::vector<hardware::BudgetPeak>& earlier_peaks() const {
    return ram_->earlier_peaks();
  }
  /// Statistics of the host's passes. Reads for weights that are sent to devices, and the waits for them, are
  /// included.
  [[nodiscard]] tier::PassStatistics pass_statistics() const;
  /// Bytes of resident weights that start() has read from disk, in whole blocks.
  [[nodiscard]] Bytes loaded_bytes() const { return model_->host().loaded(); }

 private:
  Engine(std::unique_ptr<RamBudget> ram, std::unique_ptr<OpenedModel> model);

  // Each of these refers to some above it, and to none below: so this order is also the one in which they may
  // be destroyed, from below. Reservations, buffers and contexts end before the pools, devices and models
  // that they belong to.
  const std::unique_ptr<RamBudget> ram_;
  const std::unique_ptr<OpenedModel> model_;
  GpuTier gpus_;
  Context context_;
  Preparer preparer_;
  Starter starter_;
  BudgetSwitch switch_;
  Prepared prepared_;
};

}  // namespace brimful::engine
