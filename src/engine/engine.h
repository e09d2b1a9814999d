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
#include "engine/drafts/draft_model.h"
#include "engine/driver_account.h"
#include "engine/driver_figures.h"
#include "engine/model_loader.h"
#include "engine/saved_sequence.h"
#include "hardware/host_memory.h"
#include "hardware/memory_claims.h"
#include "hardware/memory_peak.h"
#include "memory/pool.h"
#include "model/model_profile.h"
#include "plan/device_split.h"
#include "plan/transfer_policy.h"
#include "tier/gpu/gpu_device.h"
#include "tier/host/host_device.h"

namespace brimful::engine {

/// A device with memory of its own that may be used, and how much of it.
struct OffloadOption {
  ggml_backend_dev_t device = nullptr;
  Bytes budget;  ///< of weights, ring, KV cache, compute buffers and driver there
};

struct DeviceUse {
  plan::DeviceShare share;
  Bytes sent;                      ///< bytes of weights sent there for batches
  tier::ExpertStatistics experts;  ///< of steps that had slots there; `read`: sent into these
};

struct OpenOptions {
  std::filesystem::path model;
  std::optional<Bytes> ram;  ///< host budget: everything the process holds; unset: what the machine allows
  int threads = 1;
  int threads_batch = 1;
  tier::ReaderFactory make_reader;         ///< unset: direct reads from disk
  tier::Trace* trace = nullptr;            ///< outlives the engine; its memory is the caller's
  std::vector<OffloadOption> offload;      ///< filled in this order, before the host
  plan::PlacementFilter placement_filter;  ///< of these devices
  /// What this process holds on a device by its driver's account, context and kernels included; nothing where
  /// that is not known. Unset: what a driver takes beside ggml's buffers is assumed.
  std::function<std::optional<DeviceHeld>(ggml_backend_dev_t)> held_on_device;
  std::shared_ptr<DriverFigures> driver_figures;  ///< of earlier starts; may be null
  /// What is sent, of batches to the first device. Unset: plan::assumed_transfer_policy().
  std::function<plan::TransferPolicy(const model::ModelProfile&)> transfer_policy;
  std::vector<AdapterOption> loras;
  std::vector<AdapterOption> control_vectors;
  std::optional<std::filesystem::path> draft_model;  ///< resident, inside the same budget
  /// For a plan of another machine: its memory is what counts, not this one's.
  std::optional<hardware::HostMemory> machine;
  std::vector<std::string> notes;  ///< What Engine::notes() begins with.
  /// Other instances of this user learn what this one will take, and wait while it decides.
  bool claims_memory = true;
  model::Weights weights = model::Weights::kRequired;  ///< may be missing where nothing will be computed
};

/// New budgets; what is not named keeps its own.
struct BudgetChange {
  std::optional<Bytes> ram;
  std::vector<std::pair<std::string, Bytes>>
      vram;  ///< by the device's name, of those in OpenOptions::offload
};

/// What is computed behind a token in the same pass, in the hope that the text goes on so.
struct DraftOptions {
  bool ngrams = false;  ///< what followed the last time that the newest tokens stood in the text
  /// In tokens. Unset: as many as cost little memory; or none, where that does not fit or the model does not
  /// allow it.
  std::optional<std::uint32_t> longest;
  bool always = false;  ///< as long as can be, even where it costs time: to measure, and to test
};

/// What a context should be. What is unset may be adapted to the budget.
struct ContextOptions {
  std::optional<std::uint32_t> context;  ///< tokens; 0: the model's training context
  std::optional<std::uint32_t> batch;
  std::optional<std::uint32_t> ubatch;
  std::uint32_t sequences = 1;        ///< that decode together, in one context
  bool shared_cells = false;          ///< any of them may use all of the context; batches are one ubatch
  bool embeddings = false;            ///< a model will do that can do nothing else
  std::uint32_t prompt_tokens = 0;    ///< of the first prompt, where it is known: shapes ubatch
  std::uint32_t least_context = 256;  ///< an adapted context is never smaller
  ggml_type type_k = GGML_TYPE_F16;
  ggml_type type_v = GGML_TYPE_F16;
  llama_flash_attn_type flash_attention = LLAMA_FLASH_ATTN_TYPE_AUTO;
  DraftOptions drafts;   ///< and where there is a draft model, its drafts
  Bytes client_reserve;  ///< what the caller itself will still allocate: samplers, grammars
  /// For the places of weights: as an earlier plan had it, instead of all that the budget leaves.
  std::optional<Bytes> for_weights;
};

/// One model, one context, inside one host budget.
/// open() reads the header and the vocabulary; prepare() makes the context and plans; start() reads the
/// resident weights; decode() computes. Threading: one thread at a time; abort() from any thread or signal
/// handler.
class Engine {
 public:
  /// What the process holds differs a little from run to run: a budget that we name, or a plan that another
  /// process will carry out, leaves this much. Most of it is what a memory cgroup is charged ahead of use, on
  /// each processor.
  [[nodiscard]] static Bytes run_to_run();

  /// Errors: those of read_model and Adapters::load; kInternal when libllama refuses the model.
  [[nodiscard]] static Result<std::unique_ptr<Engine>> open(OpenOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] const model::ModelProfile& profile() const { return profile_; }
  /// The same ones as long as the engine lives, on whatever devices the model is computed.
  [[nodiscard]] const llama_model* model() const { return model_.get(); }
  [[nodiscard]] const llama_vocab* vocab() const { return llama_model_get_vocab(model_.get()); }
  /// Of the vocabulary. Made at the first call. Threading: any.
  [[nodiscard]] const constraint::FirstCharacters& first_characters() const;
  /// A place for the candidates of one token: whoever samples fills it anew. Threading: as the engine.
  [[nodiscard]] std::vector<llama_token_data>& candidates() const { return candidates_; }

  /// Decides what start() will do, and reads no weight.
  /// Errors: kInvalidArgument for a prompt longer than the context; kInfeasible: the message has the bytes
  /// missing and the smallest change that fits.
  [[nodiscard]] Status prepare(const ContextOptions& options);
  /// Requires: prepare() succeeded, and start() was not called.
  [[nodiscard]] const plan::HostPlan& plan() const { return plan_; }
  /// What prepare() was given, with the context and the ubatch that it chose. Requires: as plan().
  [[nodiscard]] const ContextOptions& prepared() const { return prepared_; }
  /// The smallest budget that would do, once prepare() has found that this one does not.
  [[nodiscard]] std::optional<Bytes> least_budget() const { return least_budget_; }

  /// Carries the plan out. Where drivers tell what they hold, the largest shapes are computed once, and the
  /// devices are filled anew with what that leaves. Requires: prepare() succeeded.
  /// Errors: kBudgetExceeded, kIo, kCancelled.
  [[nodiscard]] Status start(const tier::HostDevice::Progress& progress);

  /// Plans and starts again inside other budgets, with the same context, ubatch and text: the tokens that
  /// follow are the same. Between passes only; the logits of the last one are lost.
  /// Errors: kInvalidArgument for a device that is not used; kInfeasible, also for more than a device has, or
  /// less than its driver holds; kIo where the text cannot be put aside (in the folder for temporary files);
  /// kBudgetExceeded. The old budgets hold then, unless can_go_on() says no.
  /// Requires: start() succeeded.
  [[nodiscard]] Status change_budgets(const BudgetChange& change);
  /// Whether anything can still be computed; not where change_budgets() failed half-way.
  [[nodiscard]] bool can_go_on() const { return can_go_on_; }

  /// What was adapted to the budget, for the user to read.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  [[nodiscard]] llama_context* context() const { return context_.get(); }
  [[nodiscard]] plan::MemoryMap memory_map() const;
  /// What lies on each device of OpenOptions::offload, once prepare() has succeeded.
  [[nodiscard]] std::vector<DeviceUse> devices() const;

  /// Appends `tokens` to sequence 0; the logits of the last one are then in the context, if `logits` says so.
  /// Errors: kInvalidArgument when the context is full; those of the tier; kCancelled after abort().
  [[nodiscard]] Status decode(std::span<const llama_token> tokens, bool logits = true);

  /// One pass of tokens of several sequences; the outputs that it asks for are then in the context. Where it
  /// fails, no sequence has moved on. Errors: as decode(). Requires: at most a ubatch of tokens.
  [[nodiscard]] Status decode(const llama_batch& batch);

  /// Whether it writes no text, and has no cache: tokens that are computed together see one another, and
  /// become vectors as libllama pools them.
  [[nodiscard]] bool only_embeds() const { return only_embeds_; }
  /// Whether its vectors can be had. Errors: kUnsupported, and why.
  [[nodiscard]] Status can_embed() const;
  /// Whether later calls of decode() keep the hidden states that its outputs are computed from.
  void keep_hidden_states(bool on);
  /// Of the last decode()'s `nth` output, behind the last norm. Errors: kUnsupported where the model's graph
  /// does not show it.
  [[nodiscard]] Result<std::vector<float>> hidden_state(std::size_t nth) const;

  /// Where there is one; start() made its context.
  [[nodiscard]] DraftModel* draft_model() const { return draft_model_.get(); }
  [[nodiscard]] const DraftOptions& draft_options() const { return draft_options_; }
  /// The most drafted tokens of a pass, in this context.
  [[nodiscard]] std::size_t longest_draft() const { return longest_draft_; }
  /// How many drafted tokens verify() can compute behind the next one; 0 where there is no room for drafts.
  [[nodiscard]] std::size_t room_for_draft() const;

  /// As decode(), in one pass; the logits of every token are then in the context, bit for bit what decode()
  /// of one after the other would have given. Requires: at most room_for_draft() tokens behind the first.
  [[nodiscard]] Status verify(std::span<const llama_token> tokens);

  /// Makes the running decode(), and every later one until resume(), end with kCancelled.
  /// Safe in a signal handler.
  void abort() { aborted_ = true; }
  void resume() { aborted_ = false; }

  /// The most that the process held with the budget that it has now, as the kernel counts it.
  [[nodiscard]] std::optional<Bytes> peak_bytes() const { return peak_.peak(); }
  /// The budgets that it had before, the first one first, and the most that it held with each.
  [[nodiscard]] const std::vector<hardware::BudgetPeak>& earlier_peaks() const { return earlier_peaks_; }
  /// Of the host's passes; reads and waits of what is sent to devices are in them, too.
  [[nodiscard]] tier::PassStatistics pass_statistics() const;
  /// Bytes of resident weights read from disk at start, whole blocks.
  [[nodiscard]] Bytes loaded_bytes() const { return device_->loaded(); }

  /// What a host budget may be at most, with what others and cgroups leave now.
  /// Requires: it claims no memory (OpenOptions::claims_memory).
  [[nodiscard]] Result<Bytes> most_budget();

 private:
  struct ContextFree {
    void operator()(llama_context* c) const { llama_free(c); }
  };
  struct Shape {
    std::uint32_t context = 0;
    std::uint32_t ubatch = 0;
    std::uint32_t draft = 0;
    bool can_go_without_draft = false;  // the next one is the same without
  };

  struct Offload {
    std::unique_ptr<memory::Pool> pool;
    std::unique_ptr<tier::GpuDevice> device;
    plan::DeviceShare share;
    Bytes at_open;                     // what its driver held of it before there was any buffer
    std::optional<DeviceHeld> driver;  // what it was measured to take beside ggml's buffers
    std::string use;                   // what decides that: see DriverFigures

    [[nodiscard]] std::string name() const { return ggml_backend_dev_name(device->inner()); }
  };

  Engine(OpenOptions options, model::ModelProfile profile, Bytes budget);
  [[nodiscard]] Status load_model();
  void free_context();
  [[nodiscard]] Status resize_pools(const BudgetChange& change);
  [[nodiscard]] BudgetChange budgets() const;
  [[nodiscard]] Status give_back();
  [[nodiscard]] Status begin(const tier::HostDevice::Progress& progress);
  [[nodiscard]] Status fill_context(std::size_t tokens);
  [[nodiscard]] Status warm_up();
  [[nodiscard]] Bytes guess_driver(const Offload& offload) const;
  [[nodiscard]] Result<bool> measure_drivers();
  void keep_driver_figures() const;
  [[nodiscard]] Status fit_drivers(const tier::HostDevice::Progress& progress);
  [[nodiscard]] Status check_devices(const BudgetChange& change) const;
  [[nodiscard]] Status restore(const std::optional<SavedSequence>& sequence);
  [[nodiscard]] Status restart(const std::optional<SavedSequence>& sequence);
  [[nodiscard]] Status start_inside(const BudgetChange& budgets,
                                    const std::optional<SavedSequence>& sequence);
  [[nodiscard]] llama_model* computed_model() const {
    return model_on_devices_ ? model_on_devices_.get() : model_.get();
  }
  [[nodiscard]] std::string metadata(std::string_view key) const;
  [[nodiscard]] bool pools() const;
  void make_offloads();
  [[nodiscard]] Status load_on_devices(const plan::DeviceSplit& split);
  /// With a ring on the first device.
  bool leave_experts(bool on);
  [[nodiscard]] plan::DeviceSplit split(const plan::HostDemand& whole,
                                        std::vector<plan::DeviceBudget> budgets, Shape shape) const;
  /// Finds the split that fills the devices, and makes the context with it. `whole`: of the host alone.
  [[nodiscard]] Status use_devices(const ContextOptions& options, Shape shape, const plan::HostDemand& whole);
  [[nodiscard]] Result<bool> settle_devices(std::vector<plan::DeviceBudget>& budgets);
  [[nodiscard]] Status place_on_devices(const tier::HostDevice::Progress& progress, Bytes& placed,
                                        Bytes total);
  [[nodiscard]] Status connect_devices();
  [[nodiscard]] Status displace_weights();
  void note_devices(const DraftOptions& wanted);
  [[nodiscard]] std::optional<Error> take_device_error();
  [[nodiscard]] Status load_adapters();
  /// What the budget leaves to this process now.
  [[nodiscard]] Result<Bytes> room() const;
  [[nodiscard]] Result<hardware::HostMemory> machine() const;
  [[nodiscard]] Result<hardware::HostBudget> decide_budget(std::optional<Bytes> wanted);
  void announce();
  [[nodiscard]] Status take_first_budget();
  void settle_claim(Bytes most);
  [[nodiscard]] Status carry_out(const BudgetChange& change);
  [[nodiscard]] std::vector<Shape> shapes_to_try(const ContextOptions& options) const;
  [[nodiscard]] Status check_list(Shape shape) const;
  [[nodiscard]] Status make_context(const ContextOptions& options, Shape shape);
  [[nodiscard]] Status record_graphs(Shape shape);
  [[nodiscard]] std::vector<Shape> with_drafts(const std::vector<Shape>& shapes,
                                               const DraftOptions& options) const;
  [[nodiscard]] bool drafts_are_dear(std::size_t units) const;
  [[nodiscard]] Status prepare_drafts(Shape shape, const llama_context_params& params);
  [[nodiscard]] Status record_verification(Shape shape);
  [[nodiscard]] Status compute(std::span<const llama_token> tokens, std::int8_t* outputs);
  [[nodiscard]] Result<plan::HostDemand> demand(const ContextOptions& options) const;
  [[nodiscard]] Bytes least_budget(const plan::HostDemand& demand) const;
  [[nodiscard]] Error infeasible(const plan::HostDemand& demand, const ContextOptions& options,
                                 Shape shape) const;
  void note_changes(const std::vector<Shape>& tried, Shape chosen);

  const OpenOptions options_;
  const model::ModelProfile profile_;
  memory::Pool pool_;
  hardware::MemoryPeak peak_;
  std::vector<hardware::BudgetPeak> earlier_peaks_;
  std::unique_ptr<hardware::MemoryClaim> claim_;  // null where this process tells the others nothing
  bool has_budget_ = false;                       // the first budget is decided
  std::optional<std::string> budget_note_;        // why the budget is not what the user expects
  memory::Reservation runtime_;
  std::unique_ptr<tier::HostDevice> device_;  // outlives model and context
  std::vector<Offload> offloads_;             // so do they
  std::int64_t batches_elsewhere_ = 0;        // from so many tokens on they are a device's; 0: never
  ModelPtr model_;
  ModelPtr model_on_devices_;  // what is computed, where some layers are on devices
  Adapters adapters_;
  std::unique_ptr<llama_context, ContextFree> context_;
  std::unique_ptr<DraftModel> draft_model_;
  DraftOptions draft_options_;
  std::uint32_t longest_draft_ = 0;
  bool only_embeds_ = false;
  bool keeps_hidden_states_ = false;
  std::vector<float> hidden_states_;  // of the last batch's outputs
  std::size_t outputs_ = 0;
  plan::HostPlan plan_;
  ContextOptions prepared_;  // with the context and the ubatch that were chosen
  std::optional<Bytes> least_budget_;
  mutable std::once_flag first_characters_once_;
  mutable std::optional<constraint::FirstCharacters> first_characters_;
  mutable std::vector<llama_token_data> candidates_;
  std::vector<std::string> notes_;
  bool can_go_on_ = true;
  std::atomic<bool> aborted_ = false;  // read between the nodes of a graph by libllama's callback
  static_assert(std::atomic<bool>::is_always_lock_free);  // or abort() would not be safe in a signal handler
};

}  // namespace brimful::engine
