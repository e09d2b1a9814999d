#pragma once

#include <llama.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "constraint/first_characters.h"
#include "engine/adapters.h"
#include "engine/context_sizer.h"
#include "engine/drafts/draft_model.h"
#include "engine/gpu_tier.h"
#include "engine/model_loader.h"
#include "engine/options.h"
#include "engine/ram_budget.h"
#include "engine/saved_sequence.h"
#include "memory/pool.h"
#include "model/model_profile.h"
#include "tier/host/host_device.h"

namespace brimful::engine {

/// One model and one context, inside one host budget and one budget for each device. open() reads the header
/// and the vocabulary, prepare() makes the context and the plan, start() reads the resident weights, and
/// decode() computes. Threading: one thread at a time; abort() may be called by any thread and in a signal
/// handler.
class Engine {
 public:
  /// Reads the model's header and vocabulary, and no weight. Errors: those of read_model and Adapters::load;
  /// kUnsupported when libllama refuses the model, or the model cannot be run here.
  [[nodiscard]] static Result<std::unique_ptr<Engine>> open(OpenOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] const model::ModelProfile& profile() const { return profile_; }
  /// The same object as long as the engine lives, even when the model is loaded again for other devices.
  [[nodiscard]] const llama_model* model() const { return model_.get(); }
  [[nodiscard]] const llama_vocab* vocab() const { return llama_model_get_vocab(model_.get()); }
  /// The first characters of the vocabulary's tokens. The first call makes them. Thread-safe.
  [[nodiscard]] const constraint::FirstCharacters& first_characters() const;
  /// A buffer for the candidates of one token. Each sampler fills it anew. Threading: as the engine.
  [[nodiscard]] std::vector<llama_token_data>& candidates() const { return candidates_; }

  /// Makes the context and decides what start() will do. Reads no weight. May be called again with other
  /// options. Errors: kInvalidArgument for a prompt that is longer than the context, or a context that
  /// llama.cpp refuses; kInfeasible: the message has the missing bytes, and changes that would fit;
  /// kUnsupported for a model that cannot be used with these options.
  [[nodiscard]] Status prepare(const ContextOptions& options);
  /// The plan of the last prepare(). Requires: prepare() succeeded, and start() was not called.
  [[nodiscard]] const plan::HostPlan& plan() const { return plan_; }
  /// The options of the last prepare(), with the context and the ubatch that it has chosen. Requires:
  /// prepare() succeeded.
  [[nodiscard]] const ContextOptions& prepared() const { return prepared_; }

  /// Places the weights as planned. If drivers report the bytes that they hold, it then computes the largest
  /// shapes once, and fills the devices again with the bytes that are left. Blocks: until all resident
  /// weights are read; `progress` may cancel that. Requires: prepare() succeeded. Errors: kBudgetExceeded,
  /// kIo, kCancelled; kInfeasible when a driver alone takes more than a device's budget.
  [[nodiscard]] Status start(const tier::HostDevice::Progress& progress);

  /// Plans and starts again inside other budgets, with the same context, ubatch and text, so that the
  /// following tokens stay the same. Call it between passes only; the logits of the last pass are lost.
  /// Requires: start() succeeded. Errors: kInvalidArgument for a device that is not used; kInfeasible, also
  /// for a device budget that is larger than the device's memory or smaller than its driver's part; kIo when
  /// the text cannot be saved (in the folder for temporary files); kBudgetExceeded. After an error the old
  /// budgets hold, unless can_go_on() is false.
  [[nodiscard]] Status change_budgets(const BudgetChange& change);
  /// False when change_budgets() failed half-way. Nothing can be computed any more then.
  [[nodiscard]] bool can_go_on() const { return can_go_on_; }

  /// Notes for people about everything that prepare() and start() have adapted to the budget.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  /// The context; null before prepare(). prepare(), start() and change_budgets() may replace it.
  [[nodiscard]] llama_context* context() const { return context_.get(); }
  /// How the host budget is used now.
  [[nodiscard]] plan::MemoryMap memory_map() const;
  /// How each device of OpenOptions::offload is used. Requires: prepare() succeeded.
  [[nodiscard]] std::vector<DeviceUse> devices() const { return gpus_->uses(); }

  /// Appends `tokens` to sequence 0. If `logits`, the context has the logits of the last token afterwards.
  /// Errors: kInvalidArgument when the context is full; those of the tier; kCancelled after abort().
  [[nodiscard]] Status decode(std::span<const llama_token> tokens, bool logits = true);

  /// Computes one pass of tokens of several sequences. The context has the outputs that the batch asks for
  /// afterwards. Errors: as above. No sequence has moved on then, but recurrent states may be lost. Requires:
  /// the batch has at most a ubatch of tokens.
  [[nodiscard]] Status decode(const llama_batch& batch);

  /// Whether the model writes no text. Such a model has no KV cache; the tokens of one text see each other,
  /// and libllama pools them into one vector.
  [[nodiscard]] bool only_embeds() const { return only_embeds_; }
  /// Whether the model can give vectors of texts. Errors: kUnsupported, with the reason.
  [[nodiscard]] Status can_embed() const;
  /// Sets whether later calls of decode() keep the hidden states of their outputs.
  void keep_hidden_states(bool on);
  /// The hidden state of the `nth` output of the last decode(), after the last norm. Requires:
  /// keep_hidden_states(true) before that call. Errors: kUnsupported when the model's graph has no such
  /// tensor.
  [[nodiscard]] Result<std::vector<float>> hidden_state(std::size_t nth) const;

  /// The draft model; null when there is none. prepare() makes its context, and start() reads its weights.
  [[nodiscard]] DraftModel* draft_model() const { return draft_model_.get(); }
  [[nodiscard]] const DraftOptions& draft_options() const { return draft_options_; }
  /// The largest number of drafted tokens in a pass of this context.
  [[nodiscard]] std::size_t longest_draft() const { return longest_draft_; }
  /// Number of drafted tokens that verify() can compute behind the next token; 0: there is no room for
  /// drafts.
  [[nodiscard]] std::size_t room_for_draft() const;

  /// Computes a token and the draft behind it in one pass. The context has the logits of all tokens
  /// afterwards. They are bit for bit the same as after decode() of one token after the other. Requires: at
  /// most room_for_draft() tokens behind the first one. Errors: as decode().
  [[nodiscard]] Status verify(std::span<const llama_token> tokens);

  /// Makes the running decode() and all later ones fail with kCancelled, until resume(). Safe in a signal
  /// handler.
  void abort() { aborted_ = true; }
  void resume() { aborted_ = false; }

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
  [[nodiscard]] Bytes loaded_bytes() const { return device_->loaded(); }

  /// The largest host budget that is possible now, with the memory that other processes and cgroups leave.
  /// Requires: OpenOptions::claims_memory is false.
  [[nodiscard]] Result<Bytes> most_budget() { return ram_->most(); }

 private:
  struct ContextFree {
    void operator()(llama_context* c) const { llama_free(c); }
  };
  Engine(OpenOptions options, model::ModelProfile profile, std::unique_ptr<RamBudget> ram);
  [[nodiscard]] Status load_model();
  void free_context();
  [[nodiscard]] Status resize_pools(const BudgetChange& change);
  [[nodiscard]] BudgetChange budgets() const;
  [[nodiscard]] Status give_back();
  [[nodiscard]] Status begin(const tier::HostDevice::Progress& progress);
  [[nodiscard]] Status fill_context(std::size_t tokens);
  [[nodiscard]] Status warm_up();
  [[nodiscard]] Result<bool> measure_drivers();
  [[nodiscard]] Status fit_drivers(const tier::HostDevice::Progress& progress);
  [[nodiscard]] Status restore(const std::optional<SavedSequence>& sequence);
  [[nodiscard]] Status restart(const std::optional<SavedSequence>& sequence);
  [[nodiscard]] Status start_inside(const BudgetChange& budgets,
                                    const std::optional<SavedSequence>& sequence);
  [[nodiscard]] llama_model* computed_model() const {
    return gpus_->model() != nullptr ? gpus_->model() : model_.get();
  }
  [[nodiscard]] std::string metadata(std::string_view key) const;
  [[nodiscard]] bool pools() const;
  [[nodiscard]] Status load_on_devices(const plan::DeviceSplit& split);
  /// Finds the split that fills the devices, and makes the context with it. `whole`: the demand when the host
  /// holds everything.
  [[nodiscard]] Status use_devices(const ContextOptions& options, ContextShape shape,
                                   const plan::HostDemand& whole);
  [[nodiscard]] Status displace_weights();
  [[nodiscard]] std::optional<Error> take_device_error();
  [[nodiscard]] Status load_adapters();
  [[nodiscard]] Status carry_out(const BudgetChange& change);
  [[nodiscard]] Status make_context(const ContextOptions& options, ContextShape shape);
  [[nodiscard]] Status record_graphs(ContextShape shape);
  [[nodiscard]] Status prepare_drafts(ContextShape shape, const llama_context_params& params);
  [[nodiscard]] Status record_verification(ContextShape shape);
  [[nodiscard]] Status compute(std::span<const llama_token> tokens, std::int8_t* outputs);
  [[nodiscard]] ContextSizer sizer() const;
  [[nodiscard]] Result<plan::HostDemand> demand(const ContextSizer& sizer,
                                                const ContextOptions& options) const;

  const OpenOptions options_;
  const model::ModelProfile profile_;
  const std::unique_ptr<RamBudget> ram_;  // must be destroyed after everything that has a reservation
  memory::Reservation runtime_;
  std::unique_ptr<tier::HostDevice> device_;  // must be destroyed after the model and the context
  std::unique_ptr<GpuTier> gpus_;             // must be destroyed after the model and the context, too
  ModelPtr model_;
  Adapters adapters_;
  std::unique_ptr<llama_context, ContextFree> context_;
  std::unique_ptr<DraftModel> draft_model_;
  DraftOptions draft_options_;
  std::uint32_t longest_draft_ = 0;
  bool only_embeds_ = false;
  bool keeps_hidden_states_ = false;
  std::vector<float> hidden_states_;  // hidden states of the outputs of the last batch
  std::size_t outputs_ = 0;           // number of outputs in the last batch
  plan::HostPlan plan_;
  ContextOptions prepared_;  // includes the context and the ubatch that prepare() has chosen
  mutable std::once_flag first_characters_once_;
  mutable std::optional<constraint::FirstCharacters> first_characters_;
  mutable std::vector<llama_token_data> candidates_;
  std::vector<std::string> notes_;
  bool can_go_on_ = true;
  std::atomic<bool> aborted_ = false;  // libllama's callback reads it between the nodes of a graph
  // Otherwise abort() would not be safe in a signal handler.
  static_assert(std::atomic<bool>::is_always_lock_free);
};

}  // namespace brimful::engine
