#include "cli/planner.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <filesystem>

#include "base/counted.h"
#include "cli/flag_names.h"
#include "cli/probe_text.h"
#include "control/server.h"
#include "engine/context_sizer.h"
#include "engine/quantisation_mix.h"
#include "engine/sampler.h"
#include "engine/sampler_memory.h"
#include "hardware/diagnostics.h"
#include "hardware/presets.h"
#include "hub/model_source.h"
#include "model/header_fingerprint.h"
#include "model/model_profile.h"
#include "plan/requantise.h"
#include "session/conversation.h"
#include "session/devices.h"

namespace brimful::cli {
namespace {

constexpr std::int64_t kDefaultBatch = 8;
constexpr std::uint64_t kShareOfAccounts = 4096;
constexpr std::uint32_t kUsualPrompt = 512;  // The usual length of a prompt in tokens.
// The most perplexity that another quantisation may add and still count as similar in quality.
constexpr double kMostPerplexity = 0.7;

Result<std::int64_t> sequences_of(const std::string& purpose) {
  if (purpose == "chat") return 1;
  if (purpose == "batch") return kDefaultBatch;
  std::int64_t count = 0;
  if (purpose.starts_with("batch:")) {
    const char* const end = purpose.data() + purpose.size();
    const auto [stop, error] = std::from_chars(purpose.data() + 6, end, count);
    if (error == std::errc{} && stop == end && count >= 1 && count <= 256) return count;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("--for {}: is not one of chat, batch, batch:N with N from 1 to 256", purpose));
}

/// Returns the budgets of the GPUs by --vram: SIZE for the first GPU, or NAME=SIZE for each. Without --vram
/// they are all GPUs of another machine, and none of this one.
Result<std::vector<plan::DeviceBudget>> device_budgets(const PlanOptions& options,
                                                       const hardware::Profile& machine, bool elsewhere) {
  std::vector<plan::DeviceBudget> out;
  const auto name = [](std::size_t i) { return fmt::format("CUDA{}", i); };
  if (!options.vram) {
    for (std::size_t i = 0; elsewhere && i < machine.gpus.size(); ++i)
      out.push_back({name(i), machine.gpus[i], saturating_sub(machine.gpus[i].total, machine.gpus[i].used)});
    return out;
  }
  BRIMFUL_TRY(const std::vector<session::VramPart> parts,
              session::parse_vram(*options.vram, flag_names().vram));
  for (const auto& [part, given, size] : parts) {
    const std::string wanted = given.value_or(name(out.size()));
    std::size_t index = 0;
    while (index < machine.gpus.size() && name(index) != wanted) ++index;
    if (index == machine.gpus.size()) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("--vram {}: {} has {}{}", part, machine.name, counted(machine.gpus.size(), "GPU"),
                      machine.gpus.empty() ? "; leave --vram out, or name a GPU with --like" : ""));
    }
    const hardware::Gpu& gpu = machine.gpus[index];
    if (size > gpu.total) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("--vram {}: {} ({}) has {} in all", part, wanted,
                                                           gpu.name, format_bytes(gpu.total)));
    }
    if (size > Bytes{}) out.push_back({wanted, gpu, size});
  }
  return out;
}

Result<hardware::Profile> machine_of(const PlanOptions& options, const model::ModelProfile& model,
                                     int threads) {
  if (options.like && options.hardware)
    return fail(ErrorCode::kInvalidArgument, "name the machine with --like or with --hardware, not both");
  if (options.like) return hardware::machine_like(*options.like);
  if (options.hardware) return hardware::read_hardware_file(*options.hardware);
  return measure_machine(&model, threads, probe::Refresh::kNever);
}

/// Returns whether most weights have the type in which the model was trained. Another type would only lose
/// quality.
bool is_trained_in_its_type(const model::ModelProfile& profile) {
  Bytes bytes;
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (tensor.type == GGML_TYPE_MXFP4) bytes += tensor.bytes;
  }
  return bytes * 2 > profile.weight_bytes();
}

std::vector<plan::Variant> quantisation_variants(const engine::Engine& engine, const plan::Inputs& inputs) {
  std::vector<plan::Variant> out;
  if (is_trained_in_its_type(inputs.profile)) return out;
  const Bytes now = inputs.profile.weight_bytes();
  for (const engine::QuantisationMix& mix : engine::quantisation_mixes()) {
    if (!mix.perplexity || *mix.perplexity > kMostPerplexity) continue;
    const auto types = engine::types_in_mix(*engine.model(), inputs.profile, mix);
    if (types.empty()) continue;
    plan::Variant variant{fmt::format("quantisation {}", mix.name),
                          fmt::format("perplexity +{:.2f} (Llama-3-8B)", *mix.perplexity),
                          plan::requantised(inputs, types), true};
    const Bytes then = variant.inputs.profile.weight_bytes();
    // A variant of about the same size or larger is no improvement.
    if (then.value < now.value - now.value / 50) out.push_back(std::move(variant));
  }
  return out;
}

/// Returns variants with other settings of the context. Their sizes come from libllama, as for the plan
/// itself.
std::vector<plan::Variant> context_variants(engine::Engine& engine, const engine::ContextOptions& context,
                                            const plan::Inputs& inputs) {
  std::vector<plan::Variant> out;
  const auto add = [&](const engine::ContextOptions& other, std::string what, std::string note) {
    if (!engine.prepare(other)) return;
    plan::Variant variant{std::move(what), std::move(note), inputs};
    const plan::HostPlan& run = engine.plan();
    variant.inputs.run.demand.kv_cache = run.demand.kv_cache;
    variant.inputs.run.demand.compute = run.demand.compute;
    variant.inputs.run.context = run.context;
    out.push_back(std::move(variant));
  };
  if (context.type_k == GGML_TYPE_F16 && context.type_v == GGML_TYPE_F16) {
    engine::ContextOptions quantised = context;
    quantised.type_k = quantised.type_v = GGML_TYPE_Q8_0;
    add(quantised, "-ctk q8_0 -ctv q8_0", "half the KV cache, hardly any loss of quality");
  }
  if (inputs.run.context >= 2 * 512) {
    engine::ContextOptions shorter = context;
    shorter.context = inputs.run.context / 2;
    shorter.prompt_tokens = std::min(context.prompt_tokens, *shorter.context / 2);
    add(shorter, fmt::format("-c {}", *shorter.context), "half the context");
  }
  return out;
}

/// Sets the size of the context. -c is for each sequence. Without it, a sequence has at most as many tokens
/// as the model was trained on (0: not known). A default prompt leaves half of the context to the answer.
/// Returns notes for people on what was adapted.
std::vector<std::string> shape_context(engine::ContextOptions& context, const PlanOptions& options,
                                       std::int64_t sequences, std::uint32_t trained) {
  std::vector<std::string> notes;
  context.sequences = static_cast<std::uint32_t>(sequences);
  const std::uint32_t of_each = context.context.value_or(0) > 0 ? *context.context : trained;
  if (context.context) context.context = *context.context * context.sequences;
  std::uint32_t prompt = options.prompt_tokens.value_or(kUsualPrompt);
  if (of_each > 0) prompt = std::min(prompt, options.prompt_tokens ? of_each : std::max(of_each / 2, 1U));
  if (options.prompt_tokens && prompt < *options.prompt_tokens) {
    notes.push_back(
        fmt::format("--prompt-tokens {}: the context holds only {} tokens, so the plan is for a prompt of {}",
                    *options.prompt_tokens, of_each, prompt));
  }
  context.prompt_tokens = prompt;
  context.least_context = prompt * context.sequences;
  // The sequences share the context, and each may be as long as the model was trained on.
  if (!context.context && sequences > 1 && trained > 0 && context.least_context > trained)
    context.context = context.least_context;
  return notes;
}

}  // namespace

engine::ClientReserve client_reserve(const engine::Engine& engine, const common_params_sampling& sampling,
                                     bool with_template, Bytes more) {
  engine::SamplerWork work =
      engine::sampler_work(static_cast<std::size_t>(llama_vocab_n_tokens(engine.vocab())), sampling);
  work.templates = with_template;
  return [work, more](Bytes budget) {
    return engine::sampler_memory(work, foreign::foreign_limits_for(budget)) + control::Server::kMemory +
           more;
  };
}

Result<PlanReport> make_report(const PlanOptions& options) {
  PlanReport report{.model = options.hub.empty() ? options.run.model : options.hub,
                    .elsewhere = options.like || options.hardware};
  BRIMFUL_TRY(const std::int64_t sequences, sequences_of(options.purpose));
  RunOptions run = options.run;
  // These flags are about the plan's devices, and not about those of this machine.
  run.gpu_layers = run.cpu_moe_layers = std::nullopt;
  run.overrides.clear();
  BRIMFUL_TRY(engine::OpenOptions open, open_options(run));
  BRIMFUL_TRY(engine::ContextOptions context, context_options(options.run));
  BRIMFUL_TRY(const common_params_sampling sampling, sampling_params(options.run));
  BRIMFUL_TRY(const hub::LocalModel local, hub::locate({options.run.model, options.hub}));
  open.model = local.path;
  open.weights = model::Weights::kMayBeMissing;
  open.claims_memory = false;
  BRIMFUL_TRY(model::ModelProfile profile, model::read_model(local.path, open.weights));
  BRIMFUL_TRY(report.model_header, model::header_fingerprint(profile.files));
  if (!local.header_only()) report.model_file = std::filesystem::absolute(local.path).string();
  BRIMFUL_TRY(hardware::Profile machine, machine_of(options, profile, open.threads));
  BRIMFUL_TRY(auto devices, device_budgets(options, machine, report.elsewhere));
  std::vector<std::string> device_names;
  for (const plan::DeviceBudget& device : devices) device_names.push_back(device.name);
  if (options.vram) {
    BRIMFUL_TRY(const std::vector<session::VramPart> parts,
                session::parse_vram(*options.vram, flag_names().vram));
    std::vector<std::string> all;
    for (std::size_t i = 0; i < machine.gpus.size(); ++i) all.push_back(fmt::format("CUDA{}", i));
    const std::string note = session::unused_devices_note(parts, device_names, all, flag_names().vram);
    if (!note.empty()) report.notes.push_back(note);
  }
  BRIMFUL_TRY(plan::PlacementFilter placement_filter, placement_rules(options.run, device_names));
  if (report.elsewhere) {
    open.machine = hardware::HostMemory{machine.ram.total, machine.ram.available, {}};
    if (!options.run.threads) open.threads = open.threads_batch = machine.compute.threads;
  }

  report.threads = open.threads;
  const auto begin = std::chrono::steady_clock::now();
  BRIMFUL_TRY(const auto engine, engine::Engine::open(std::move(open)));
  BRIMFUL_TRY_VOID(engine::try_grammar(*engine, sampling));
  const double opened = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::ranges::move(shape_context(context, options, sequences, profile.train_context),
                    std::back_inserter(report.notes));
  if (profile.weights_missing) {  // Real rows of weights are needed to find out which drafts keep the bits.
    context.drafts = {};
    report.notes.emplace_back("planned from the header alone, so without speculative decoding");
  }
  context.client_reserve =
      client_reserve(*engine, sampling, !engine->profile().chat_template.empty() && !options.run.raw);
  if (context.sequences <= 1) session::shape_for_conversation(context);
  BRIMFUL_TRY_VOID(engine->prepare(context));
  std::ranges::copy(engine->notes(), std::back_inserter(report.notes));

  if (!devices.empty()) {
    plan::DeviceBudget& first = devices.front();
    const plan::TransferPolicy transfer_policy =
        plan::measured_transfer_policy(profile, machine.compute, first.gpu.host_to_device_bytes_per_s);
    plan::add_rings(first, profile, transfer_policy, engine->plan().ubatch);
  }
  BRIMFUL_TRY(const Bytes most, engine->most_budget());
  plan::Inputs& inputs = report.inputs;
  inputs = plan::Inputs{.profile = std::move(profile),
                        .run = engine->plan(),
                        .machine = std::move(machine),
                        .host_budget = engine->plan().budget,
                        .most_host_budget = most,
                        .devices = std::move(devices),
                        .placement_filter = std::move(placement_filter),
                        .names = flag_names(),
                        .workload = {.sequences = sequences,
                                     .prompt_tokens = context.prompt_tokens,
                                     .cells = static_cast<std::int64_t>(context.prompt_tokens)},
                        .open_seconds = opened};
  // Another process will execute the plan, and the kernel's account of it may be a little larger than its
  // own.
  inputs.run.demand.growth += engine::run_to_run() + Bytes{inputs.host_budget.value / kShareOfAccounts};
  BRIMFUL_TRY(report.plan, plan::make_plan(inputs));
  // The plan itself says what is read.
  report.diagnostics = hardware::diagnostics(inputs.machine, std::nullopt);

  std::vector<plan::Variant> variants = plan::standard_variants(inputs);
  std::ranges::move(quantisation_variants(*engine, inputs), std::back_inserter(variants));
  std::ranges::move(context_variants(*engine, context, inputs), std::back_inserter(variants));
  report.changes = plan::rank(report.plan, variants);
  return report;
}

}  // namespace brimful::cli
