#pragma once

#include <sampling.h>

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace CLI {
class App;
}

namespace brimful::cli {

/// The flags beside -hf.
struct HubFlags {
  /// The value of --fit, see parse_fit(). Unset: the name says which quantisation is taken.
  std::optional<std::string> fit;
  /// The value of --limit-rate: bytes per second.
  std::optional<std::string> limit_rate;
  /// Whether the network may not be used.
  bool offline = false;
};

/// The flags of `brimful run`. Flags with the same meaning as in llama.cpp have the same names. Unset means
/// that the flag was not given.
struct RunOptions {
  std::string model;
  /// The value of -hf; empty when the flag was not given. choose_model() turns it into `model`.
  std::string hub;
  /// How a model of the hub is chosen and fetched.
  HubFlags fetch;
  std::optional<std::string> prompt;
  std::optional<std::string> prompt_file;
  std::optional<std::string> system;
  std::optional<std::string> chat_template_file;
  std::optional<std::string> ram;
  std::optional<std::string> vram;
  std::optional<std::string> rpc;
  std::optional<std::uint32_t> gpu_layers;
  std::optional<std::uint32_t> cpu_moe_layers;
  /// The values of -ot, each in the form REGEX=DEVICE.
  std::vector<std::string> overrides;
  std::optional<std::string> plan_file;
  /// The bytes for weights that the plan in `plan_file` says. apply_plan() sets it; there is no flag for it.
  std::optional<Bytes> for_weights;
  std::optional<std::string> stats_file;
  std::optional<std::string> trace_file;
  std::optional<std::uint32_t> context;
  std::optional<std::uint32_t> batch;
  std::optional<std::uint32_t> ubatch;
  std::optional<int> threads;
  std::optional<int> threads_batch;
  /// The most tokens to generate; -1: until the model ends its text.
  int limit = -1;
  std::string type_k = "f16";
  std::string type_v = "f16";
  std::string flash_attention = "auto";
  std::string io = "auto";
  std::optional<std::string> draft_model;
  std::optional<std::string> spec_type;
  std::optional<std::uint32_t> longest_draft;
  bool always_draft = false;
  std::vector<std::string> loras;
  std::vector<std::string> control_vectors;
  std::optional<std::string> grammar;
  std::optional<std::string> json_schema;
  bool raw = false;
  bool display_prompt = false;
  bool special = false;
  common_params_sampling sampling;
};

// These functions add flags to a command. `options` gets their values. Lifetime: `options` must outlive the
// parsing.
/// Adds all flags of `brimful run`, also those of the functions below.
void add_run_flags(CLI::App& command, RunOptions& options);
/// Adds the flags for adapters, host budget, the KV cache's type, threads and the reader.
void add_host_flags(CLI::App& command, RunOptions& options);
/// Adds these flags, and those for context, batch and drafts.
void add_shape_flags(CLI::App& command, RunOptions& options);
/// Adds the flag for the chat template.
void add_chat_flags(CLI::App& command, RunOptions& options);
/// Whether the program may choose the type of the KV cache: both -ctk and -ctv are `auto`.
[[nodiscard]] bool chooses_cache_type(const RunOptions& options);
/// Adds the flags for GPUs: --vram, --rpc, and those of add_placement_flags().
void add_device_flags(CLI::App& command, RunOptions& options);
/// Adds the flags on which weights may lie on which GPU.
void add_placement_flags(CLI::App& command, RunOptions& options);

/// Reads a plan that `brimful plan --json` wrote, and sets the options that it determines.
/// Errors: kNotFound, kCorrupt; kInvalidArgument when a flag or the model contradicts the plan; kUnsupported
/// for a plan that uses a GPU or has several sequences. Some options may be set already then.
[[nodiscard]] Status apply_plan(const std::string& file, RunOptions& options);

/// Reads the file of --chat-template-file. Returns an empty text when the flag was not given: the model's
/// own template is used then. Errors: kNotFound.
[[nodiscard]] Result<std::string> chat_template(const RunOptions& options);

/// Whether a flag asks for drafts. `brimful serve` makes none otherwise.
[[nodiscard]] bool asks_for_drafts(const RunOptions& options);
/// Refuses flags that ask for drafts, for `brimful batch`. Flags that switch drafts off are accepted. Errors:
/// kInvalidArgument, naming the flag.
[[nodiscard]] Status refuse_drafts(const RunOptions& options);

// The following functions convert the flags to options of other parts. Errors: kInvalidArgument, naming the
// flag.

/// The options with which the engine opens the model. The function loads ggml's plug-ins and connects to
/// rpc-servers when flags ask for it. Errors: also those of add_rpc_servers() and offload_options().
[[nodiscard]] Result<engine::OpenOptions> open_options(const RunOptions& options);
/// The profile of this machine that probe::known() returns for these threads. Nullopt when it was not
/// measured.
[[nodiscard]] std::optional<hardware::Profile> known_machine(const RunOptions& options,
                                                             const model::ModelProfile& model);
/// The options with which the engine prepares the context.
[[nodiscard]] Result<engine::ContextOptions> context_options(const RunOptions& options);
/// The sampler's parameters. A grammar or a JSON schema is in them as a grammar.
[[nodiscard]] Result<common_params_sampling> sampling_params(const RunOptions& options);
/// The prompt: the value of -p, or the text in the file of -f ('-': standard input). Nullopt when neither
/// was given.
[[nodiscard]] Result<std::optional<std::string>> read_prompt(const RunOptions& options);

}  // namespace brimful::cli
