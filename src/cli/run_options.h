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

/// The flags of `brimful run`, named as in llama.cpp where they mean the same.
struct RunOptions {
  std::string model;
  std::optional<std::string> prompt;
  std::optional<std::string> prompt_file;
  std::optional<std::string> system;
  std::optional<std::string> chat_template_file;
  std::optional<std::string> ram;
  std::optional<std::string> vram;
  std::optional<std::string> rpc;
  std::optional<std::uint32_t> gpu_layers;
  std::optional<std::uint32_t> cpu_moe_layers;
  std::vector<std::string> overrides;  ///< REGEX=DEVICE
  std::optional<std::string> plan_file;
  std::optional<Bytes> for_weights;  ///< of the plan
  std::optional<std::string> stats_file;
  std::optional<std::string> trace_file;
  std::optional<std::uint32_t> context;
  std::optional<std::uint32_t> batch;
  std::optional<std::uint32_t> ubatch;
  std::optional<int> threads;
  std::optional<int> threads_batch;
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

void add_run_flags(CLI::App& command, RunOptions& options);
/// Those of them that decide what is in memory, and how fast: adapters, budget, context, threads, drafts.
void add_shape_flags(CLI::App& command, RunOptions& options);
void add_chat_flags(CLI::App& command, RunOptions& options);
/// Whether -ctk and -ctv are `auto`.
[[nodiscard]] bool chooses_cache_type(const RunOptions& options);
/// And what may lie on which GPU.
void add_device_flags(CLI::App& command, RunOptions& options);
void add_placement_flags(CLI::App& command, RunOptions& options);
/// What these forbid, of `devices`. Errors: kInvalidArgument.
[[nodiscard]] Result<plan::PlacementFilter> placement_rules(const RunOptions& options,
                                                            const std::vector<std::string>& devices);

/// Takes what a plan of `brimful plan --json` says, for what no flag was given for. Errors: kNotFound,
/// kCorrupt; kInvalidArgument where a flag or the model contradicts it; kUnsupported for a plan that uses a
/// GPU.
[[nodiscard]] Status apply_plan(const std::string& file, RunOptions& options);

/// Of --chat-template-file; empty: the model's own. Errors: kNotFound.
[[nodiscard]] Result<std::string> chat_template(const RunOptions& options);

/// Refuses the flags that ask for drafts, for a command that answers many requests in one context and drafts
/// nothing. Flags that ask for no drafts are accepted. `command`: its name, for the message.
/// Errors: kInvalidArgument, naming the flag.
[[nodiscard]] Status refuse_drafts(const RunOptions& options, std::string_view command);

// Errors: kInvalidArgument, naming the flag.
[[nodiscard]] Result<engine::OpenOptions> open_options(const RunOptions& options);
/// What probe::known() knows of this machine with these threads.
[[nodiscard]] std::optional<hardware::Profile> known_machine(const RunOptions& options,
                                                             const model::ModelProfile& model);
[[nodiscard]] Result<engine::ContextOptions> context_options(const RunOptions& options);
/// The sampler's parameters, with the grammar or the JSON schema in them.
[[nodiscard]] Result<common_params_sampling> sampling_params(const RunOptions& options);
/// -p, or what -f holds ('-': standard input); nothing when neither was given.
[[nodiscard]] Result<std::optional<std::string>> read_prompt(const RunOptions& options);

}  // namespace brimful::cli
