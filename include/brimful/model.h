#pragma once

#include <brimful/budgets.h>
#include <brimful/export.h>
#include <brimful/forecast.h>
#include <brimful/machine.h>
#include <brimful/result.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace brimful {

/// A LoRA adapter or a control vector.
struct Adapter {
  std::filesystem::path file{};
  float scale = 1;  ///< Its effect is multiplied by this number. 0: it has none.
};

/// Which weights may lie on GPUs. What is not forbidden is placed by the budgets.
struct Placement {
  /// The most layers on GPUs, counted from the first one on. Unset: as many as fit.
  std::optional<std::uint32_t> gpu_layers{};
  /// The experts of this number of layers, counted from the first one on, stay in main memory. Unset: none have to.
  std::optional<std::uint32_t> cpu_expert_layers{};
  /// Rules REGEX=DEVICE as of llama.cpp's flag -ot: weights whose names match stay off all devices but that one. DEVICE
  /// is `CPU`, or a GPU that has a budget. The first rule that matches counts.
  std::vector<std::string> rules{};
};

/// Drafts: tokens that are guessed and computed in the same pass as the newest token (speculative decoding). They never
/// change what is written, and are used while one request is computed alone.
struct Drafts {
  /// True: the text that followed the newest tokens the last time is a draft.
  bool from_text = false;
  /// A small model of the same family that drafts. It is resident, inside the same budget. Empty: none.
  std::filesystem::path model{};
  /// The most tokens of a draft. Unset: as many as cost little memory.
  std::optional<std::uint32_t> most_tokens{};
  /// True: drafts are as long as they can be, also where that costs time. For measurements.
  bool always = false;
};

/// How the requests of a session share its passes.
enum class Sharing {
  /// Each pass computes as many requests as the context holds.
  kTogether,
  /// A request is computed from its first to its last token before the next one begins, unless a more urgent one comes.
  /// It then gets the tokens that it gets alone, whatever other requests there are.
  kOneByOne,
  /// One by one, too, for the turns of one conversation, as `brimful run` does it: the passes over a prompt are as large
  /// as they can be, and a prompt begins with everything of it that the context holds, the last answer included.
  /// ContextOptions::sequences is 1.
  kConversation,
};

/// How weights are read from the disk: by io_uring or by threads. kAuto: by io_uring where the kernel has it.
enum class DiskReads { kAuto, kUring, kThreads };

/// What is known about the requests of a session before they come. What ContextOptions leaves open is chosen for them.
struct Workload {
  std::uint64_t prompt_tokens = 0;  ///< Mean number of tokens of a prompt.
  std::uint64_t answer_tokens = 0;  ///< Mean number of tokens of an answer.
  /// Tokens of the largest prompt and its answer: a context that is chosen holds that many, if the budget does. 0: the
  /// sum of the means.
  std::uint64_t most_tokens = 0;
  /// A context that is chosen holds that many tokens in any case, and at least 256.
  std::uint64_t least_tokens = 0;
};

/// Bytes of main memory that the calling program will still allocate: `fixed`, and with them `share` of the budget, but
/// not less than `least` and not more than `most`.
struct CallerReserve {
  Bytes fixed{};
  double share = 0;  ///< From 0 to 0.5. 0: `least` and `most` do not count.
  Bytes least{};
  std::optional<Bytes> most{};  ///< Unset: no limit.
};

/// What a session is to hold beside the weights, and how it computes.
struct ContextOptions {
  /// Tokens of the context, which all sequences share; it is rounded up. 0: as many as the model was trained for.
  /// Unset: chosen, as many as are useful and fit, and one request gets no more than the model was trained for.
  std::optional<std::uint32_t> tokens{};
  /// Tokens of one pass over a prompt (llama.cpp's ubatch). Unset: chosen. Tokens of an answer are bit for bit
  /// the same at every budget only where this is the same.
  std::optional<std::uint32_t> ubatch{};
  /// Requests that are computed at once, from 1 to 256. More may be submitted: they wait.
  std::uint32_t sequences = 1;
  /// Threads that compute, at least 1. Unset: as many as the process may use cores. More than can run are never used.
  std::optional<std::uint32_t> threads{};
  /// Threads that compute prompts, at least 1. Unset: as many as `threads`.
  std::optional<std::uint32_t> prompt_threads{};
  /// Types of the KV cache, by ggml's names: `f32`, `f16`, `bf16`, `q8_0`, `q4_0`, `q4_1`, `q5_0`, `q5_1` or `iq4_nl`.
  /// `auto` for both: q8_0 where a forecast says that it is faster (see `machine`), and else f16.
  std::string key_cache = "f16";
  std::string value_cache = "f16";
  /// Whether flash attention computes the answers. Unset: where the model and the devices have it.
  std::optional<bool> flash_attention{};
  /// Adapters, whose effects add up. They cannot be used with a GPU yet.
  std::vector<Adapter> loras{};
  std::vector<Adapter> control_vectors{};
  Placement placement{};
  Drafts drafts{};  ///< They cannot be used with a GPU yet.
  /// A Jinja chat template that is used instead of the model's own. Empty: the model's own.
  std::string chat_template{};
  Sharing sharing = Sharing::kTogether;
  /// Unset: requests of a usual length.
  std::optional<Workload> workload{};
  /// Bytes for weights in main memory, as an earlier plan has decided: see Plan::weights_budget. Unset: all that the
  /// budget leaves.
  std::optional<Bytes> weights_budget{};
  DiskReads disk_reads = DiskReads::kAuto;
  CallerReserve caller_reserve{};  ///< Nothing, where it is left alone.
  /// True: what happens is recorded, in memory inside the budget. See Session::write_trace().
  bool trace = false;
  /// True: `brimful top` and `brimful ctl` can watch the session and change its budgets, over a socket that only this
  /// user can open (docs/control.md). Where there can be none, a note says why. For one session of a process at a time.
  /// Session::step() does what they ask for; see Session::control_descriptor().
  bool control_socket = false;
  /// The machine. If it is this one, a context whose `tokens` are unset gets the shape that is fastest by its rates;
  /// the notes say which shapes were compared. If it is another one, the options are for Model::plan() only.
  /// Unset: this machine, and a usual shape.
  std::optional<Machine> machine{};
};

/// What else a plan is to say.
struct PlanOptions {
  /// Tokens of each prompt for which the forecast is made, at least 1. Unset: 512, or half of a shorter context.
  std::optional<std::uint32_t> prompt_tokens{};
  /// True: Plan::changes is filled. The model is opened once more for it, and several contexts are made.
  bool changes = false;
};

/// What a session would do, known before a weight is read.
struct Plan {
  std::uint32_t context = 0;  ///< Tokens of the context.
  std::uint32_t ubatch = 0;   ///< Tokens of one pass over a prompt.
  std::uint32_t sequences = 0;  ///< Requests that are computed at once.
  std::string key_cache{};    ///< Types of the KV cache, by ggml's names.
  std::string value_cache{};
  /// Bytes for weights in main memory. With this, `context` and `ubatch` in ContextOptions, and the same budgets, a
  /// session does what this plan says, also where the process holds a little less by then.
  Bytes weights_budget{};
  Account account{};          ///< Its peak is unset.
  Bytes weights{};            ///< All weights of the model.
  Bytes streamed_per_pass{};  ///< Weights that are read from disk for every pass.
  std::vector<std::string> notes{};  ///< What was adapted to the budgets, one sentence each.
  /// How fast the session would be. Unset: the rates of the machine are not known (see Machine::measure()), or those of
  /// a GPU that NVIDIA's driver does not list (a note says so); or the model only embeds.
  std::optional<Forecast> forecast{};
  /// What would be at least 3% faster, the largest gain first. Empty without PlanOptions::changes or a forecast.
  std::vector<PlanChange> changes{};
};

/// A model file whose header has been read and checked. A Model holds no weights, and never changes: copies share
/// their content. Threading: any thread.
class BRIMFUL_API Model {
 public:
  /// Opens a GGUF file; of a split model, its first file. Reads the header only.
  /// Errors: kNotFound, kIo; kInvalidArgument for a path that is no file, or a later part of a split model; kCorrupt
  /// for a header that breaks the format; kUnsupported.
  [[nodiscard]] static Result<Model> open(const std::filesystem::path& gguf);

  [[nodiscard]] const std::filesystem::path& path() const;
  [[nodiscard]] const std::string& name() const;          ///< As the file says it, or the file's name.
  [[nodiscard]] const std::string& architecture() const;  ///< As llama.cpp calls it: `llama`, `qwen3moe`.
  [[nodiscard]] std::uint32_t layers() const;
  [[nodiscard]] std::uint64_t train_context() const;  ///< Tokens; 0 where the file does not say.
  [[nodiscard]] Bytes weights() const;                ///< Bytes of all weights.
  [[nodiscard]] bool has_chat_template() const;

  /// Plans a session with these budgets, and reads no weight. The forecast is made with the rates of
  /// ContextOptions::machine, or else with those of this machine that are known (see Machine::known()); nothing is
  /// measured. For another machine, Budgets::vram names its GPUs, as Machine::gpus() lists them. Forecasts for GPUs are
  /// made from their presets' or driver's figures, and from a placement that follows from them.
  /// Blocks: as long as the vocabulary takes to load. Threading: as Machine::known().
  /// Errors: kInfeasible where it does not fit: the message has the bytes that are missing and the smallest change
  /// that would fit; those of Session::start() but kBudgetExceeded.
  [[nodiscard]] Result<Plan> plan(const Budgets& budgets = {}, const ContextOptions& context = {},
                                  const PlanOptions& options = {}) const;

 private:
  friend class Machine;
  friend class Session;
  struct Content;
  explicit Model(std::shared_ptr<const Content> content);
  std::shared_ptr<const Content> content_;
};

}  // namespace brimful
