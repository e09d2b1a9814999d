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
  float scale = 1;  ///< The factor for its effect. 0: no effect.
};

/// Restricts which weights may be on GPUs. Within these restrictions, the budgets decide where each weight is.
struct Placement {
  /// At most this number of layers is on GPUs, counted from the model's first layer (llama.cpp's -ngl counts from the
  /// last). 0: none. Unset: as many as fit.
  std::optional<std::uint32_t> gpu_layers{};
  /// The experts of this number of layers, counted from the first, have no place on GPUs (llama.cpp's --n-cpu-moe). For
  /// long prompts they may still be copied there. Unset: no restriction.
  std::optional<std::uint32_t> cpu_expert_layers{};
  /// Rules REGEX=DEVICE as of llama.cpp's flag -ot. If REGEX matches a part of a weight's name, that weight may be on
  /// DEVICE only. DEVICE is `CPU`, or a GPU that has a budget. The first rule that matches a weight is used.
  std::vector<std::string> rules{};
};

/// Drafts: tokens that are guessed and computed in the same pass as the newest token (speculative decoding). Drafts do
/// not change the answer. They are used only while a single request runs.
struct Drafts {
  /// True: the session looks for an earlier place where the newest tokens occur; the tokens after that place are the
  /// draft (prompt lookup).
  bool from_text = false;
  /// A small model with the same vocabulary that makes drafts. All of it stays in memory, and counts towards the same
  /// budget. Empty: none.
  std::filesystem::path model{};
  /// The largest number of tokens of a draft. Unset: as many as need little memory, and none if that does not fit or
  /// the model does not support drafts.
  std::optional<std::uint32_t> most_tokens{};
  /// True: drafts always have the largest length, even if that makes the answer slower. For measurements.
  bool always = false;
};

/// How the requests of a session share its passes. A pass evaluates the model once, for a batch of tokens.
enum class Sharing {
  /// Each pass computes tokens of all requests that run, up to ContextOptions::sequences of them.
  kTogether,
  /// The session computes one request from its first to its last token before the next one begins, unless a request
  /// with a higher priority arrives. Other requests do not change the tokens of a request.
  kOneByOne,
  /// As kOneByOne, for the turns of one conversation (`brimful run` uses this). Passes over a prompt are as large as
  /// possible. The longest beginning of a prompt that is in the KV cache already, the last answer included, is not
  /// computed again. ContextOptions::sequences must be 1.
  kConversation,
};

/// How weights are read from disk: by io_uring or by threads. kAuto: by io_uring if the kernel supports it, and
/// otherwise by threads.
enum class DiskReads { kAuto, kUring, kThreads };

/// The expected sizes of the requests of a session. The session uses them to choose what ContextOptions leaves open.
struct Workload {
  std::uint64_t prompt_tokens = 0;  ///< Mean number of tokens of a prompt. Give both means.
  std::uint64_t answer_tokens = 0;  ///< Mean number of tokens of an answer.
  /// Tokens of the largest prompt and its answer. If the session chooses the size of the context, it chooses at least
  /// this, if the budget allows it. 0: the sum of the two means.
  std::uint64_t most_tokens = 0;
  /// If the session chooses the size of the context, it chooses at least this many tokens, and at least 256. If these
  /// do not fit, the error is kInfeasible.
  std::uint64_t least_tokens = 0;
};

/// Bytes of main memory that the calling program will still allocate. These are `fixed`; and if `share` is not 0,
/// `share` times the budget of main memory is added, but at least `least` and at most `most`.
struct CallerReserve {
  Bytes fixed{};
  double share = 0;  ///< From 0 to 0.5. 0: `least` and `most` are ignored.
  Bytes least{};  ///< The least that `share` adds.
  std::optional<Bytes> most{};  ///< The most that `share` adds. Unset: no limit.
};

/// What a session keeps in memory in addition to the weights, and how it computes.
struct ContextOptions {
  /// Tokens of the context, which all requests share. The number is rounded up to a multiple of 256. 0: as many as the
  /// model was trained with. Unset: the session chooses the largest useful size that fits, and one request gets no more
  /// tokens than the model was trained with.
  std::optional<std::uint32_t> tokens{};
  /// The most tokens of one pass over a prompt (llama.cpp's ubatch). Unset: chosen. With the same number, answers under
  /// different budgets are equal bit for bit; with different numbers they may differ.
  std::optional<std::uint32_t> ubatch{};
  /// The largest number of requests that are computed at the same time, from 1 to 256. Further requests wait.
  std::uint32_t sequences = 1;
  /// Threads that compute answers, at least 1. Unset: the number of processors that the process may use. A larger
  /// number is reduced to it.
  std::optional<std::uint32_t> threads{};
  /// Threads that compute prompts, at least 1. Unset: as many as `threads`.
  std::optional<std::uint32_t> prompt_threads{};
  /// The type of the keys in the KV cache, by ggml's name: `f32`, `f16`, `bf16`, `q8_0`, `q4_0`, `q4_1`, `q5_0`, `q5_1`
  /// or `iq4_nl`. `auto`: if both types are `auto` and q8_0 is faster by the rates of `machine`, q8_0; else f16.
  std::string key_cache = "f16";
  std::string value_cache = "f16";  ///< The type of the values, with the same names.
  /// Whether flash attention is used. Unset: it is used if the model and all devices support it.
  std::optional<bool> flash_attention{};
  std::vector<Adapter> loras{};            ///< LoRA adapters; their effects are added. With a GPU: kUnsupported.
  std::vector<Adapter> control_vectors{};  ///< Control vectors; their effects are added. With a GPU: kUnsupported.
  Placement placement{};
  Drafts drafts{};  ///< Off, with a note, where a GPU computes several tokens with other last bits than one token.
  /// A Jinja chat template that replaces the model's. Empty: the model's template.
  std::string chat_template{};
  Sharing sharing = Sharing::kTogether;
  /// Unset: prompts of about 768 tokens and answers of about 256.
  std::optional<Workload> workload{};
  /// Bytes for weights in main memory, with the cache of experts and the ring: Plan::weights_budget of an earlier plan.
  /// If the budget has less left, or the model needs more, the error is kInfeasible. Unset: all bytes that are left.
  std::optional<Bytes> weights_budget{};
  DiskReads disk_reads = DiskReads::kAuto;
  CallerReserve caller_reserve{};  ///< Default: no reserve.
  /// True: the session records a trace of its work, in memory that counts towards the budget. See
  /// Session::write_trace().
  bool trace = false;
  /// True: `brimful top` and `brimful ctl` can watch the session and change its budgets, over a socket that only this
  /// user can open (docs/control.md). If the socket cannot be made, a note says why. Only one session of a process can
  /// have one. Session::step() carries out what these programs ask for; see Session::control_descriptor().
  bool control_socket = false;
  /// The machine on which the session will run. If it is this machine and `tokens` is unset, the session chooses the
  /// sizes of the context and of a pass that are fastest by the machine's rates, and the notes list what was compared.
  /// If it is another machine, use the options with Model::plan() only. Unset: this machine, and usual sizes.
  std::optional<Machine> machine{};
};

/// /// Options of Model::plan(): the prompts of its forecast, and whether it looks for changes that would be faster.
struct PlanOptions {
  /// Tokens of each prompt in the forecast, at least 1. Unset: 512, or half of the context if that is less.
  std::optional<std::uint32_t> prompt_tokens{};
  /// True: Plan::changes is filled. This opens the model again and plans several contexts, which takes longer.
  bool changes = false;
};

/// What a session would do. A plan is made without reading weights.
struct Plan {
  std::uint32_t context = 0;    ///< Tokens of the context.
  std::uint32_t ubatch = 0;     ///< The most tokens of one pass over a prompt (llama.cpp's ubatch).
  std::uint32_t sequences = 0;  ///< The largest number of requests that are computed at the same time.
  std::string key_cache{};      ///< The type of the keys in the KV cache, by ggml's name.
  std::string value_cache{};    ///< The type of the values.
  /// Bytes for weights in main memory. A session with this number, `context` and `ubatch` in its ContextOptions and
  /// with the same budgets does exactly what this plan says, even if the process uses a little less memory by then.
  Bytes weights_budget{};
  Account account{};          ///< Its peak is unset.
  Bytes weights{};            ///< As Account::weights.
  Bytes streamed_per_pass{};  ///< As Account::streamed_per_pass.
  std::vector<std::string> notes{};  ///< What was changed to fit the budgets, and what is not known; one sentence each.
  /// How fast the session would be. Unset if the machine's rates are not known (see Machine::measure()); if NVIDIA's
  /// driver does not list a GPU of the plan (a note says so); and for a model that makes embeddings only.
  std::optional<Forecast> forecast{};
  /// Changes that would make answers at least 3% faster, the largest gain first. Empty without PlanOptions::changes,
  /// and without a forecast.
  std::vector<PlanChange> changes{};
};

/// A model file whose header was read and checked. A Model holds no weights, and never changes: copies share their
/// content. Threading: any thread.
class BRIMFUL_API Model {
 public:
  /// Opens a GGUF file, and reads its header only. For a split model, give its first file.
  /// Errors: kNotFound, kIo; kInvalidArgument if the path is not a file, or not the first file of a split model;
  /// kCorrupt if the header breaks the format; kUnsupported for an architecture or a type of weights that is not
  /// supported.
  [[nodiscard]] static Result<Model> open(const std::filesystem::path& gguf);

  [[nodiscard]] const std::filesystem::path& path() const;
  [[nodiscard]] const std::string& name() const;          ///< The name in the header, or the file's name.
  [[nodiscard]] const std::string& architecture() const;  ///< As llama.cpp calls it: `llama`, `qwen3moe`.
  [[nodiscard]] std::uint32_t layers() const;
  [[nodiscard]] std::uint64_t train_context() const;  ///< Tokens; 0 if the file does not say.
  [[nodiscard]] Bytes weights() const;                ///< Bytes of all weights.
  [[nodiscard]] bool has_chat_template() const;

  /// Plans a session inside these budgets, without reading weights. The forecast uses the rates of
  /// ContextOptions::machine, or if that is unset, what is known of this machine (see Machine::known()). Nothing is
  /// measured. For another machine, Budgets::vram names its GPUs as Machine::gpus() lists them. For GPUs, the forecast
  /// uses the figures of a preset or of the driver, and a computed placement of the weights.
  /// Blocks: while the vocabulary loads. Threading: as Machine::known().
  /// Errors: kInfeasible if the session does not fit; the message has the bytes that are missing and the smallest
  /// change that would fit. All errors of Session::start() but kBudgetExceeded.
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
