#include "cli/run_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iostream>
#include <limits>
#include <sstream>

#include "base/json_text.h"
#include "base/standard_error.h"
#include "base/user_folders.h"
#include "cli/flag_names.h"
#include "cli/model_choice.h"
#include "cli/ram_budget.h"
#include "cli/start.h"
#include "constraint/answer_grammar.h"
#include "constraint/answer_schema.h"
#include "engine/remote_devices.h"
#include "engine/sampling_options.h"
#include "hardware/compute_threads.h"
#include "probe/probe.h"
#include "session/cache_type.h"
#include "session/open_options.h"
#include "session/sampling.h"

namespace brimful::cli {
namespace {

constexpr std::string_view kAnyCache = "auto";

Result<ggml_type> cache_type(std::string_view flag, const std::string& name) {
  if (name == kAnyCache) return GGML_TYPE_F16;
  return session::cache_type(flag, name, kAnyCache);
}

struct DraftKinds {
  bool ngrams = false;
  bool model = false;
  engine::Heads heads = engine::Heads::kNone;
};

Result<DraftKinds> draft_kinds(const RunOptions& o) {
  if (o.longest_draft == 0U) return DraftKinds{};
  if (!o.spec_type)
    return DraftKinds{.ngrams = true,
                      .model = o.draft_model.has_value(),
                      .heads = o.draft_model ? engine::Heads::kNone : engine::Heads::kWherePossible};
  DraftKinds out;
  std::istringstream names(*o.spec_type);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == "ngram-simple") {
      out.ngrams = true;
    } else if (name == "draft-simple") {
      out.model = true;
    } else if (name == "draft-mtp") {
      out.heads = engine::Heads::kRequired;
    } else if (name != "none") {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("--spec-type {}: is not one of ngram-simple, draft-simple, draft-mtp, none", name));
    }
  }
  if (out.model && out.heads != engine::Heads::kNone)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("--spec-type {}: choose the draft model or the model's own layers", *o.spec_type));
  if (out.model && !o.draft_model)
    return fail(ErrorCode::kInvalidArgument, "--spec-type draft-simple: name the draft model with -md");
  return out;
}

/// Parses adapters, each given as FILE or FILE:SCALE.
Result<std::vector<Adapter>> adapters(std::string_view flag, const std::vector<std::string>& given) {
  std::vector<Adapter> out;
  for (const std::string& text : given) {
    Adapter adapter{text, 1.0F};
    if (const std::size_t colon = text.rfind(':'); colon != std::string::npos) {
      const char* const end = text.data() + text.size();
      float scale = 0;
      const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, scale);
      if (error == std::errc{} && stop == end) adapter = {text.substr(0, colon), scale};
    }
    if (!std::isfinite(adapter.scale))
      return fail(ErrorCode::kInvalidArgument, fmt::format("{} {}: the scale must be a number", flag, text));
    out.push_back(std::move(adapter));
  }
  return out;
}

/// Checks that a value is in a range. A NaN is in no range.
Status check_range(std::string_view flag, double value, double low, double high) {
  if (value >= low && value <= high) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} {:g}: give a number from {:.12g} to {:.12g}", flag, value, low, high));
}

std::string read_all(std::istream& in) {
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

Result<std::string> read_file(const std::string& path, std::string_view what) {
  std::ifstream in(path, std::ios::binary);
  std::string text = in ? read_all(in) : std::string();
  std::error_code ec;
  if (!in || std::filesystem::is_directory(path, ec))
    return fail(ErrorCode::kNotFound, fmt::format("{}: the {} cannot be read: check the path", path, what));
  return text;
}

int threads_of(const RunOptions& options) {
  return hardware::choose_threads(options.threads, hardware::read_compute_limits(), "-t").threads;
}

}  // namespace

void add_run_flags(CLI::App& command, RunOptions& o) {
  command.add_option("-m,--model,model", o.model,
                     "GGUF file (of a split model: the first part), or the name of a model in the cache");
  add_hub_flag(command, o);
  command.add_option("-p,--prompt", o.prompt, "prompt (default: a chat on the terminal)");
  command.add_option("-f,--file", o.prompt_file, "read the prompt from a file ('-': standard input)");
  command.add_option("--system", o.system, "system message of the chat");
  add_chat_flags(command, o);
  command.add_flag("--raw", o.raw, "complete plain text, without the model's chat template");
  command.add_flag("--display-prompt", o.display_prompt, "print the prompt before the generated text");
  command.add_option("-n,--predict", o.limit,
                     "most tokens to generate (-1: until the model ends its answer)");
  command.add_option("--plan", o.plan_file, "run a plan: a file written by `brimful plan --json`");
  add_shape_flags(command, o);
  add_device_flags(command, o);

  const std::string sampling = "Sampling";
  command.add_option("-s,--seed", o.sampling.seed, "random seed (default: -1, another one for each run)")
      ->group(sampling)
      ->transform(
          [](const std::string& text) { return text == "-1" ? std::to_string(LLAMA_DEFAULT_SEED) : text; });
  for (const engine::SamplingOption& option : engine::sampling_options()) {
    std::visit(
        [&](auto value) {
          command.add_option(option.flags, o.sampling.*value, option.help)
              ->group(sampling)
              ->capture_default_str();
        },
        option.value);
  }
  command
      .add_option_function<std::string>(
          "--samplers",
          [&o](const std::string& names) {
            std::vector<std::string> list;
            std::istringstream in(names);
            for (std::string name; std::getline(in, name, ';');) list.push_back(name);
            auto samplers = engine::samplers_of(list);
            if (!samplers) throw CLI::ValidationError("--samplers", samplers.error().message);
            o.sampling.samplers = std::move(*samplers);
          },
          "names of the samplers in the order of their use, separated by ';'")
      ->group(sampling);
  command
      .add_flag("--ignore-eos", o.sampling.ignore_eos,
                "continue when the model ends its answer (a grammar can still end it)")
      ->group(sampling);
  command.add_flag("--special", o.special, "print special tokens")->group(sampling);
  auto* const grammar =
      command.add_option("--grammar", o.grammar, "GBNF grammar that the answer must follow")->group(sampling);
  command.add_option("--json-schema", o.json_schema, "JSON schema that the answer must follow")
      ->group(sampling)
      ->excludes(grammar);

  command.add_option("--stats", o.stats_file, "file for statistics, as JSON")->group("Output");
  command
      .add_option("--trace", o.trace_file,
                  "file for a trace of disk reads, computing and waiting, for Perfetto")
      ->group("Output");
}

void add_device_flags(CLI::App& command, RunOptions& o) {
  command
      .add_option(
          "--vram", o.vram,
          "VRAM budget for weights, KV cache and buffers, such as 8GiB, of the first GPU; several GPUs: "
          "CUDA0=8GiB,CUDA1=6GiB; without a size, or auto: the free VRAM, less a reserve (default: no "
          "GPU is used)")
      ->group("Memory");
  add_placement_flags(command, o);
  command
      .add_option(
          "--rpc", o.rpc,
          "HOST:PORT of a ggml rpc-server, or several separated by commas; their devices are used as GPUs")
      ->group("Memory");
}

void add_placement_flags(CLI::App& command, RunOptions& o) {
  command
      .add_option("--gpu-layers,--ngl", o.gpu_layers,
                  "most layers to place on GPUs (default: as many as fit)")
      ->group("Memory");
  command
      .add_option("--n-cpu-moe", o.cpu_moe_layers,
                  "keep the experts (MoE) of the first N layers off the GPUs")
      ->group("Memory");
  command
      .add_option("--override-tensor,--ot", o.overrides,
                  "REGEX=DEVICE: place weights whose name matches on this device only (CPU: on no GPU); may "
                  "be repeated")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Memory");
}

void add_chat_flags(CLI::App& command, RunOptions& o) {
  command.add_option("--chat-template-file", o.chat_template_file,
                     "file with a Jinja chat template, in place of the model's own");
}

void add_host_flags(CLI::App& command, RunOptions& o) {
  command.add_option("--lora", o.loras, "LoRA adapter, FILE or FILE:SCALE; may be repeated: adapters add up")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      .add_option("--control-vector", o.control_vectors,
                  "control vector, FILE or FILE:SCALE; may be repeated: vectors add up")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);

  const std::string memory = "Memory";
  command
      .add_option("--ram", o.ram,
                  "RAM budget for the whole process, such as 11.5GiB (default: the free RAM, less a reserve)")
      ->group(memory);
  command
      .add_option(
          "--cache-type-k,--ctk", o.type_k,
          "data type of the K cache; auto (for K and V): f16, or q8_0 where batch or serve gets faster by it")
      ->group(memory)
      ->capture_default_str();
  command.add_option("--cache-type-v,--ctv", o.type_v, "data type of the V cache")
      ->group(memory)
      ->capture_default_str();
  command.add_option("--flash-attn,--fa", o.flash_attention, "flash attention")
      ->group(memory)
      ->check(CLI::IsMember({"on", "off", "auto"}))
      ->capture_default_str();

  const std::string speed = "Speed";
  command.add_option("-t,--threads", o.threads, "threads for generation (default: physical cores)")
      ->group(speed)
      ->check(CLI::Range(1, 512));
  command.add_option("--threads-batch,--tb", o.threads_batch, "threads for the prompt (default: as -t)")
      ->group(speed)
      ->check(CLI::Range(1, 512));
  command.add_option("--io", o.io, "how to read from disk: with io_uring or with threads")
      ->group(speed)
      ->check(CLI::IsMember({"auto", "uring", "threads"}))
      ->capture_default_str();
}

void add_shape_flags(CLI::App& command, RunOptions& o) {
  add_host_flags(command, o);
  const std::string memory = "Memory";
  command
      .add_option("-c,--ctx-size", o.context,
                  "context size in tokens (0: the model's own; default: 4096, or fewer to fit the budget)")
      ->group(memory);
  command
      .add_option("-b,--batch-size", o.batch, "logical batch size: most tokens given to llama.cpp at once")
      ->group(memory);
  command
      .add_option("--ubatch-size,--ub", o.ubatch,
                  "physical batch size: most tokens computed in one pass (default: by prompt and budget)")
      ->group(memory);

  const std::string drafts = "Speculative decoding (the same tokens, sooner)";
  command
      .add_option("--model-draft,--md,--spec-draft-model", o.draft_model,
                  "GGUF file of a small draft model; it stays in RAM, within the budget")
      ->group(drafts);
  command
      .add_option(
          "--spec-type", o.spec_type,
          "sources of drafts, separated by a comma: ngram-simple (n-grams of the text, also called prompt "
          "lookup), and draft-simple (the draft model) or draft-mtp (the model's own layers that predict "
          "further tokens, also called MTP); or none (default: all that can pay)")
      ->group(drafts);
  command
      .add_option("--spec-draft-n-max", o.longest_draft,
                  "most tokens in a draft (default: 15, fewer where memory is short)")
      ->group(drafts)
      ->check(CLI::Range(0, 256));
  command
      .add_flag("--spec-always", o.always_draft,
                "always draft as many tokens as possible, even where it costs time (for measurements)")
      ->group(drafts);
}

std::optional<hardware::Profile> known_machine(const RunOptions& options, const model::ModelProfile& model) {
  return probe::known({.threads = threads_of(options), .model = &model});
}

bool chooses_cache_type(const RunOptions& o) { return o.type_k == kAnyCache && o.type_v == kAnyCache; }

bool asks_for_drafts(const RunOptions& o) {
  const bool by_type = o.spec_type && *o.spec_type != "none";
  return o.longest_draft != 0U && (o.draft_model || by_type || o.longest_draft || o.always_draft);
}

Status refuse_drafts(const RunOptions& o) {
  const auto refused = [&](std::string_view flag) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: 'brimful batch' computes many requests at once and uses no drafts: leave the "
                    "flag out ('brimful run' and 'brimful serve' use drafts)",
                    flag));
  };
  if (o.draft_model) return refused("-md");
  BRIMFUL_TRY(const DraftKinds asked, draft_kinds(o));
  if (o.spec_type && (asked.ngrams || asked.model || asked.heads != engine::Heads::kNone))
    return refused(fmt::format("--spec-type {}", *o.spec_type));
  if (o.longest_draft.value_or(0) > 0) return refused(fmt::format("--spec-draft-n-max {}", *o.longest_draft));
  if (o.always_draft) return refused("--spec-always");
  return {};
}

Result<engine::OpenOptions> open_options(const RunOptions& o) {
  session::OpenRequest request{.model = o.model, .threads = o.threads, .threads_batch = o.threads_batch};
  if (o.ram) {
    BRIMFUL_TRY(request.ram, parse_ram(*o.ram));
  }
  if (o.rpc) {
    std::istringstream endpoints(*o.rpc);
    for (std::string endpoint; std::getline(endpoints, endpoint, ',');)
      BRIMFUL_TRY_VOID(engine::add_rpc_server(endpoint, "--rpc"));
  }
  if (!o.vram && o.rpc)
    return fail(ErrorCode::kInvalidArgument,
                "--rpc needs --vram: say with it how much of the server's memory may be used");
  if (o.vram) {
    BRIMFUL_TRY(request.vram, session::parse_vram(*o.vram, flag_names().vram));
  }
  request.reader = o.io == "uring"     ? tier::ReaderKind::kUring
                   : o.io == "threads" ? tier::ReaderKind::kThreads
                                       : tier::ReaderKind::kAuto;
  request.placement = {o.gpu_layers, o.cpu_moe_layers, o.overrides};
  BRIMFUL_TRY(request.loras, adapters("--lora", o.loras));
  BRIMFUL_TRY(request.control_vectors, adapters("--control-vector", o.control_vectors));
  BRIMFUL_TRY(engine::OpenOptions out, session::open_options(request, flag_names(), tell_note));
  BRIMFUL_TRY(const DraftKinds drafts, draft_kinds(o));
  if (drafts.model) out.draft_model = *o.draft_model;
  out.heads = drafts.heads;
  return out;
}

Result<engine::ContextOptions> context_options(const RunOptions& o) {
  engine::ContextOptions out;
  out.context = o.context;
  out.batch = o.batch;
  out.for_weights = o.for_weights;
  out.ubatch = o.ubatch;
  if (o.ubatch && *o.ubatch == 0)
    return fail(ErrorCode::kInvalidArgument, "-ub 0: a pass computes at least one token; use -ub 1 or more");
  if (o.batch && *o.batch == 0)
    return fail(ErrorCode::kInvalidArgument, "-b 0: a batch holds at least one token; use -b 1 or more");
  BRIMFUL_TRY(out.type_k, cache_type("-ctk", o.type_k));
  BRIMFUL_TRY(out.type_v, cache_type("-ctv", o.type_v));
  BRIMFUL_TRY(const DraftKinds drafts, draft_kinds(o));
  out.drafts = {drafts.ngrams, o.longest_draft, o.always_draft};
  out.flash_attention = o.flash_attention == "on"    ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                        : o.flash_attention == "off" ? LLAMA_FLASH_ATTN_TYPE_DISABLED
                                                     : LLAMA_FLASH_ATTN_TYPE_AUTO;
  BRIMFUL_TRY_VOID(session::check_value_cache("-ctv", out.type_v, o.flash_attention == "off", "-fa off"));
  return out;
}

Result<common_params_sampling> sampling_params(const RunOptions& o) {
  common_params_sampling out = o.sampling;
  for (const engine::SamplingOption& option : engine::sampling_options()) {
    const double value =
        std::visit([&](auto member) { return static_cast<double>(out.*member); }, option.value);
    BRIMFUL_TRY_VOID(check_range(option.flags, value, option.least, option.most));
  }
  if (o.grammar) {
    BRIMFUL_TRY(out.grammar, constraint::grammar_of_gbnf(*o.grammar, "--grammar"));
  }
  if (o.json_schema) {
    BRIMFUL_TRY(const session::FollowedSchema schema,
                session::followed_schema(*o.json_schema, "--json-schema", tell_note));
    out.grammar = schema.grammar;
  }
  return out;
}

Result<std::string> chat_template(const RunOptions& o) {
  if (!o.chat_template_file) return std::string();
  return read_file(*o.chat_template_file, "chat template");
}

Result<std::optional<std::string>> read_prompt(const RunOptions& o) {
  if (o.prompt && o.prompt_file)
    return fail(ErrorCode::kInvalidArgument, "give the prompt with -p or with -f, not both");
  if (o.prompt) return o.prompt;
  if (!o.prompt_file) return std::nullopt;
  if (*o.prompt_file == "-") return read_all(std::cin);
  BRIMFUL_TRY(std::string text, read_file(*o.prompt_file, "prompt file"));
  // As in llama.cpp: an editor adds this newline, and it is no part of the prompt.
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace brimful::cli
