#include "engine/engine.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <thread>

#include "engine/llama_log.h"
#include "memory/page_tables.h"
#include "memory/program_pages.h"

namespace brimful::engine {

using memory::page_tables;

namespace {

/// A note for a model whose file does not say how its vocabulary splits text: llama.cpp only logs that.
std::optional<std::string> vocabulary_note(const llama_model* model) {
  std::array<char, 64> value{};
  if (llama_vocab_type(llama_model_get_vocab(model)) != LLAMA_VOCAB_TYPE_BPE ||
      llama_model_meta_val_str(model, "tokenizer.ggml.pre", value.data(), value.size()) >= 0)
    return std::nullopt;
  return "the file does not say how its vocabulary splits text (tokenizer.ggml.pre is missing): llama.cpp's "
         "default is "
         "used, and answers may be worse; convert the model anew";
}

constexpr std::uint32_t kDefaultContext = 4096;
constexpr std::uint32_t kDefaultUbatch = 512;
constexpr std::uint32_t kLargestUbatch = 2048;
constexpr std::uint32_t kSmallestUbatch = 32;
constexpr std::uint32_t kContextStep = 256;  // libllama pads contexts to this
// Bytes that libllama's own list of the KV cache holds for each token of the context (llama_kv_cells).
constexpr Bytes kListPerToken{48};
// A list of at most this size is made even if nothing fits: the error can then name the missing bytes
// exactly.
constexpr Bytes kSmallList = kMiB;

// Bytes by which libllama's heap, the thread stacks and the kernel's own structures still grow after the
// graphs have been recorded once (measured: see docs/adr/0004).
constexpr Bytes kGrowth{512 * 1024};
// The growth also differs from run to run, by a share of the memory: the kernel charges memory ahead, and has
// lists of its own.
constexpr std::uint64_t kShareOfGrowth = 2048;

Error with_llama_error(ErrorCode code, std::string what) {
  const std::string why = take_llama_error();
  return Error{code, why.empty() ? std::move(what) : fmt::format("{} ({})", what, why)};
}

Bytes reserve_in(Bytes budget, const ClientReserve& reserve) { return reserve ? reserve(budget) : Bytes{}; }

bool abort_requested(void* data) { return static_cast<const std::atomic<bool>*>(data)->load(); }

}  // namespace

Engine::Engine(OpenOptions options, model::ModelProfile profile, std::unique_ptr<RamBudget> ram)
    : options_(std::move(options)), profile_(std::move(profile)), ram_(std::move(ram)) {}

Engine::~Engine() = default;

const constraint::FirstCharacters& Engine::first_characters() const {
  std::call_once(first_characters_once_, [this] { first_characters_.emplace(vocab()); });
  return *first_characters_;
}

Result<std::unique_ptr<Engine>> Engine::open(OpenOptions options) {
  capture_llama_logs();

  BRIMFUL_TRY(model::ModelProfile profile, model::read_model(options.model, options.weights));
  BRIMFUL_TRY(std::unique_ptr<RamBudget> ram,
              RamBudget::create({options.ram, options.machine, options.claims_memory}));
  std::unique_ptr<Engine> engine(new Engine(std::move(options), std::move(profile), std::move(ram)));
  BRIMFUL_TRY_VOID(engine->load_model());
  return engine;
}

Status Engine::load_model() {
  const int threads = std::max(options_.threads, options_.threads_batch);
  BRIMFUL_TRY(device_, tier::HostDevice::create(profile_, ram_->pool(),
                                                {.threads = threads,
                                                 .make_reader = options_.make_reader,
                                                 .trace = options_.trace,
                                                 .file_order = !options_.offload.empty()}));
  make_offloads();
  BRIMFUL_TRY(model_, load_without_weights(profile_, *device_));
  const auto unsupported = [&](std::string_view why) {
    return fail(ErrorCode::kUnsupported, fmt::format("{}: {}", options_.model.string(), why));
  };
  if (llama_vocab_type(vocab()) == LLAMA_VOCAB_TYPE_NONE) {
    return unsupported("it has no vocabulary, so it cannot read or write text; use a complete GGUF");
  }
  if (llama_model_has_encoder(model_.get()) || !llama_model_has_decoder(model_.get())) {
    return unsupported("models with an encoder cannot be run yet");
  }
  only_embeds_ = pools() && metadata("attention.causal") == "false";
  if (!offloads_.empty() &&
      (!options_.loras.empty() || !options_.control_vectors.empty() || options_.draft_model)) {
    return unsupported("adapters and a draft model cannot be used with --vram yet; leave one of the two out");
  }
  BRIMFUL_TRY_VOID(load_adapters());
  if (!options_.draft_model) return {};
  BRIMFUL_TRY(draft_model_, DraftModel::open(*options_.draft_model, ram_->pool(),
                                             {threads, options_.make_reader, nullptr, device_.get()}));
  return {};
}

Status Engine::load_adapters() {
  if (options_.loras.empty() && options_.control_vectors.empty()) return {};
  BRIMFUL_TRY(const Bytes room, ram_->room());
  return adapters_.load(options_.loras, options_.control_vectors, profile_, model_.get(), room);
}

std::vector<Engine::Shape> Engine::shapes_to_try(const ContextOptions& options) const {
  const std::uint32_t trained = profile_.train_context > 0 ? profile_.train_context : kDefaultContext;
  const std::uint32_t default_context = std::min(trained, std::max(kDefaultContext, options.least_context));
  std::uint32_t context = options.context.value_or(default_context);
  if (context == 0) context = trained;

  // A whole prompt in one ubatch is one pass over the weights; longer ubatches than the prompt buy nothing.
  std::uint32_t ubatch = options.ubatch.value_or(kDefaultUbatch);
  if (only_embeds_ && !options.ubatch) ubatch = kLargestUbatch;  // for several whole texts
  if (!options.ubatch && options.prompt_tokens > 0) {
    ubatch = std::clamp(static_cast<std::uint32_t>(align_up(options.prompt_tokens, 64)), kSmallestUbatch,
                        kLargestUbatch);
  }
  ubatch = std::min(ubatch, options.batch.value_or(ubatch));
  if (!only_embeds_) ubatch = std::min(ubatch, context);

  std::vector<Shape> shapes{{context, ubatch, 0}};
  while (!options.ubatch && shapes.back().ubatch / 2 >= kSmallestUbatch) {
    shapes.push_back({context, shapes.back().ubatch / 2, 0});
  }
  const auto least =
      static_cast<std::uint32_t>(align_up(std::max(options.least_context, kContextStep), kContextStep));
  while (!options.context && shapes.back().context > least) {
    const auto half = static_cast<std::uint32_t>(align_up(shapes.back().context / 2, kContextStep));
    shapes.push_back({std::max(half, least), shapes.back().ubatch, 0});
  }

  return with_drafts(shapes, options.drafts);
}

/// Must be called before a context is made: libllama fills this part of a context at once, and not in our
/// buffers.
Status Engine::check_list(Shape shape) const {
  if (llama_model_is_recurrent(model_.get())) return {};
  BRIMFUL_TRY(const Bytes room, ram_->room());
  const Bytes list = kListPerToken * shape.context;
  if (list <= kSmallList || list <= room) return {};
  return fail(
      ErrorCode::kInfeasible,
      fmt::format("{} does not fit --ram {}: -c {} takes {} for the list of its tokens alone; use a "
                  "smaller -c",
                  options_.model.string(), format_bytes(ram_->bytes()), shape.context, format_bytes(list)));
}

void Engine::free_context() {
  if (draft_model_) draft_model_->free_context();
  context_.reset();
  for (Offload& offload : offloads_) offload.device->forget_buffers();
}

Status Engine::make_context(const ContextOptions& options, Shape shape) {
  free_context();
  device_->forget_needs();
  llama_context_params params = llama_context_default_params();
  params.n_ctx = shape.context;
  params.n_batch =
      options.shared_cells ? shape.ubatch : std::max(options.batch.value_or(kLargestUbatch), shape.ubatch);
  params.n_ubatch = shape.ubatch;
  params.n_seq_max = options.sequences;
  params.kv_unified = options.shared_cells;
  params.n_outputs_max = std::max(options.sequences, 1 + shape.draft);
  if (only_embeds_) {  // every token is an output; libllama wants a ubatch that n_seq_max divides
    params.n_outputs_max = shape.ubatch;
    while (shape.ubatch % params.n_seq_max != 0) --params.n_seq_max;
  }
  params.embeddings = only_embeds_;
  params.n_threads = options_.threads;
  params.n_threads_batch = options_.threads_batch;
  params.type_k = options.type_k;
  params.type_v = options.type_v;
  params.flash_attn_type = options.flash_attention;
  params.abort_callback = abort_requested;
  params.abort_callback_data = &aborted_;
  params.no_perf = true;
  // libllama switches flash attention off when the device of a layer does not have it.
  device_->leave_batches(0);
  context_.reset(llama_init_from_model(computed_model(), params));
  device_->leave_batches(batches_elsewhere_);
  if (context_ == nullptr) {
    if (auto error = take_device_error()) return std::unexpected(std::move(*error));
    return std::unexpected(with_llama_error(
        ErrorCode::kInvalidArgument,
        fmt::format("llama.cpp refuses this context: -c {} -ub {}", shape.context, shape.ubatch)));
  }
  if (llama_get_memory(context_.get()) == nullptr && !(only_embeds_ && options.embeddings)) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: it does not write text token by token ({})", options_.model.string(),
                    only_embeds_ ? "what it makes of texts are vectors: use brimful serve or brimful batch"
                                 : "diffusion models cannot be run yet"));
  }
  BRIMFUL_TRY_VOID(adapters_.apply(context_.get()));
  BRIMFUL_TRY_VOID(record_graphs(shape));
  return prepare_drafts(shape, params);
}

Status Engine::record_graphs(Shape shape) {
  // Nothing is computed here: the device sees the graphs, and libllama makes all its allocations.
  std::vector<llama_token> tokens(shape.ubatch, 0);
  if (!only_embeds_) tokens.resize(std::min<std::size_t>(tokens.size(), llama_n_ctx(context_.get())));
  llama_memory_t const memory = llama_get_memory(context_.get());
  bool fed = true;
  const auto feed = [&](std::size_t count) {
    const auto batch = llama_batch_get_one(tokens.data(), static_cast<std::int32_t>(count));
    fed = fed && llama_decode(context_.get(), batch) == 0;
  };
  const auto feed_first = [&](std::size_t count) {
    llama_memory_clear(memory, false);
    feed(count);
  };
  if (leave_experts(true)) {  // the host must see the graph with the experts that it may have to compute
    feed_first(tokens.size());
    leave_experts(false);
    feed_first(1);  // without another graph in between, libllama would reuse the first one
  }
  feed_first(tokens.size());
  // The largest batch that stays on the host although larger ones go to a device, and the largest batch that
  // uses the slots for experts.
  if (!offloads_.empty()) {
    const plan::TransferPolicy& transfer_policy = offloads_.front().device->transfer_policy();
    for (const std::int64_t count : {transfer_policy.min_batch_of_experts - 1, transfer_policy.min_batch - 1,
                                     plan::kMostTokensOfSlots}) {
      if (count > 0 && static_cast<std::size_t>(count) < tokens.size())
        feed_first(static_cast<std::size_t>(count));
    }
  }
  if (tokens.size() < llama_n_ctx(context_.get()) || only_embeds_) {
    feed(1);
  } else {
    feed_first(1);
  }
  llama_memory_clear(memory, false);
  if (!fed)
    return std::unexpected(
        with_llama_error(ErrorCode::kInternal, "llama.cpp cannot build this model's graph"));
  return {};
}

Result<plan::HostDemand> Engine::demand(const ContextOptions& options) const {
  plan::HostDemand out;
  device_->host_buffers().discard();
  if (draft_model_) {
    BRIMFUL_TRY(out.draft_model, draft_model_->bytes_to_place());
  }
  ::malloc_trim(0);
  memory::populate_program_pages();
  BRIMFUL_TRY(const hardware::ProcessMemory process, hardware::read_process_memory());
  BRIMFUL_TRY(const hardware::HostMemory host, ram_->machine());
  tier::Needs needs = device_->needs();
  const Bytes room = hardware::room(ram_->bytes(), host, process);
  out.held = room.value > 0 ? ram_->bytes() - room : std::max(ram_->bytes(), hardware::held_bytes(process));
  out.adapters = device_->host_buffers().kept_bytes();
  out.held = saturating_sub(out.held, out.adapters);
  out.kv_cache = device_->host_buffers().kv_bytes();
  out.compute = device_->host_buffers().compute_bytes() + needs.work + needs.staging;
  out.bookkeeping = device_->bookkeeping();
  out.least_for_weights = plan::smallest_budget(profile_, needs.uses, out.bookkeeping);
  out.growth = kGrowth + needs.reader + needs.split + page_tables(out.kv_cache + out.compute);
  out.growth += reserve_in(ram_->bytes(), options.client_reserve);
  out.growth += Bytes{ram_->bytes().value / kShareOfGrowth};
  for (const Offload& offload : offloads_) out.growth += offload.device->host_bytes();
  out.uses = std::move(needs.uses);
  return out;
}

Bytes Engine::run_to_run() {
  constexpr Bytes kOfProcess{256 * 1024};
  constexpr Bytes kChargedAhead{256 * 1024};  // MEMCG_CHARGE_BATCH of Linux: 64 pages for each processor
  return kOfProcess + kChargedAhead * std::max(std::thread::hardware_concurrency(), 1U);
}

/// The smallest budget that fits. A part of the demand grows with the budget.
Bytes Engine::least_budget(const plan::HostDemand& demand, const ClientReserve& reserve) const {
  const auto growing = [&](Bytes budget) {
    return reserve_in(budget, reserve) + Bytes{budget.value / kShareOfGrowth};
  };
  const Bytes same_everywhere = saturating_sub(demand.least(), growing(ram_->bytes()));
  Bytes least = same_everywhere;
  for (Bytes next = same_everywhere + growing(least); next > least; next = same_everywhere + growing(least))
    least = next;
  return least;
}

Error Engine::infeasible(const plan::HostDemand& demand, const ContextOptions& options, Shape shape) const {
  const Bytes least = least_budget(demand, options.client_reserve);
  const Bytes missing = saturating_sub(least, ram_->bytes());
  std::string cure =
      fmt::format("--ram {}MiB would fit", align_up(least + run_to_run(), kMiB).value / kMiB.value);
  // Suggests a smaller value for a flag that the user has set, if that would be enough.
  const auto suggest = [&](std::string_view flag, std::uint32_t count, std::uint32_t step, Bytes held) {
    const double fewer = static_cast<double>((missing + run_to_run()).value) * count /
                         static_cast<double>(std::max<std::uint64_t>(held.value, 1));
    if (fewer + step > count) return;
    cure += fmt::format(", or {} {}", flag, align_down(static_cast<std::uint64_t>(count - fewer), step));
  };
  if (options.context) suggest("-c", shape.context, kContextStep, demand.kv_cache);
  if (options.ubatch) suggest("-ub", shape.ubatch, kSmallestUbatch, demand.compute);
  return Error{
      ErrorCode::kInfeasible,
      fmt::format(
          "{} does not fit --ram {}: {} ({} bytes) are missing; {} [program, vocabulary, adapters {}, KV "
          "cache {}, compute {}, {}reserve {}, weights at least {}]",
          options_.model.string(), format_bytes(ram_->bytes()), format_bytes(missing), missing.value, cure,
          format_bytes(demand.held + demand.adapters), format_bytes(demand.kv_cache),
          format_bytes(demand.compute),
          draft_model_ ? fmt::format("draft model {}, ", format_bytes(demand.draft_model)) : "",
          format_bytes(demand.growth), format_bytes(demand.least_for_weights)) +
          (ram_->note() ? "; " + *ram_->note() : "")};
}

Status Engine::prepare(const ContextOptions& wanted) {
  least_budget_.reset();
  BRIMFUL_TRY_VOID(ram_->decide_first());
  notes_ = options_.notes;
  if (ram_->note()) notes_.push_back(*ram_->note());
  if (const auto note = vocabulary_note(model_.get())) notes_.push_back(*note);
  ContextOptions options = wanted;
  if (!offloads_.empty()) options.drafts = {};  // drafts cannot be checked bit for bit on devices yet
  draft_options_ = options.drafts;
  const std::vector<Shape> shapes = shapes_to_try(options);
  const std::uint64_t context = align_up(shapes.front().context, kContextStep);
  if (options.prompt_tokens > context) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("the prompt has {} tokens and the context holds {}: use -c {} or more",
                    options.prompt_tokens, context, align_up(options.prompt_tokens + 1, kContextStep)));
  }
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const bool last = i + 1 == shapes.size();
    if (const Status fits = check_list(shapes[i]); !fits) {
      if (last) return fits;
      continue;
    }
    if (model_on_devices_) BRIMFUL_TRY_VOID(load_on_devices({}));
    const Status made = make_context(options, shapes[i]);
    if (!made && made.error().code == ErrorCode::kUnsupported && shapes[i].can_go_without_draft) continue;
    BRIMFUL_TRY_VOID(made);
    BRIMFUL_TRY(plan::HostDemand demand, this->demand(options));
    if (!offloads_.empty()) {
      BRIMFUL_TRY_VOID(use_devices(options, shapes[i], demand));
      BRIMFUL_TRY(demand, this->demand(options));
    }
    if (demand.least() > ram_->bytes()) {
      if (!last) continue;
      least_budget_ = least_budget(demand, options.client_reserve);
      return std::unexpected(infeasible(demand, options, shapes[i]));
    }
    // Long ubatches are worth at most an eighth of the budget: the rest is better spent on resident weights.
    if (!options.ubatch && !last && shapes[i].ubatch > kDefaultUbatch &&
        (demand.compute + (only_embeds_ ? demand.kv_cache : Bytes{})) * 8 > ram_->bytes())
      continue;

    const Bytes for_weights = demand.for_weights(ram_->bytes());
    if (options.for_weights && *options.for_weights > for_weights) {
      return fail(ErrorCode::kInfeasible,
                  fmt::format("the plan gives weights {} and --ram {} now leaves {}: plan again",
                              format_bytes(*options.for_weights), format_bytes(ram_->bytes()),
                              format_bytes(for_weights)));
    }
    BRIMFUL_TRY(
        plan::Placement placement,
        plan::place(profile_, demand.uses, options.for_weights.value_or(for_weights), demand.bookkeeping));
    if (shapes[i].can_go_without_draft && drafts_are_dear(placement.units.size())) continue;
    if (i > 0) note_changes(shapes, shapes[i]);
    note_devices(wanted.drafts);
    std::vector<plan::GraphWork> work = device_->recorded_work();
    if (work.empty()) work = {{.tokens = 1}, {.tokens = shapes[i].ubatch}};  // devices compute all of it
    plan_ = plan::HostPlan{.budget = ram_->bytes(),
                           .context = llama_n_ctx(context_.get()),
                           .ubatch = shapes[i].ubatch,
                           .draft = longest_draft_,
                           .demand = std::move(demand),
                           .placement = std::move(placement),
                           .decode = *std::ranges::min_element(work, {}, &plan::GraphWork::tokens),
                           .prompt = *std::ranges::max_element(work, {}, &plan::GraphWork::tokens)};
    prepared_ = wanted;
    prepared_.context = plan_.context;
    prepared_.ubatch = plan_.ubatch;
    return {};
  }
  return fail(ErrorCode::kInternal, "no context shape to try");
}

Status Engine::start(const tier::HostDevice::Progress& progress) {
  BRIMFUL_TRY_VOID(begin(progress));
  return options_.held_on_device ? fit_drivers(progress) : Status{};
}

Status Engine::begin(const tier::HostDevice::Progress& progress) {
  plan::HostPlan plan = std::exchange(plan_, {});  // from here on, the device owns its memory
  ram_->settle(plan.memory_map(profile_).peak());
  BRIMFUL_TRY(runtime_, ram_->pool().reserve(plan.runtime(), memory::Tag::kRuntime));
  BRIMFUL_TRY_VOID(adapters_.apply_control_vector(context_.get()));
  if (draft_model_) BRIMFUL_TRY_VOID(draft_model_->place());
  Bytes there;
  for (const Offload& offload : offloads_) there += offload.share.weights + offload.share.experts;
  Bytes placed;
  const Bytes total = there + plan.placement.resident + plan.placement.slot_bytes();
  BRIMFUL_TRY_VOID(place_on_devices(progress, placed, total));
  BRIMFUL_TRY_VOID(device_->place(std::move(plan.placement), [&](Bytes done, Bytes all) {
    return !progress || progress(placed + done, placed + all);
  }));
  BRIMFUL_TRY_VOID(connect_devices());
  for (const Offload& offload : offloads_) {
    if (offload.device->sends_from_pageable())
      notes_.push_back(
          fmt::format("{}: its driver could not pin the memory that weights are sent from: slower copies",
                      offload.share.name));
  }
  return {};
}

void Engine::note_changes(const std::vector<Shape>& tried, Shape chosen) {
  const Shape wanted = tried.front();
  if (chosen.ubatch != wanted.ubatch) {
    // Kernels follow the size of a ubatch, so this is the one adaptation that can show in the last bits.
    notes_.push_back(
        fmt::format("-ub {} instead of {}, to fit the budget (give -ub for the same bits at every budget)",
                    chosen.ubatch, wanted.ubatch));
  }
  if (chosen.context != wanted.context) {
    notes_.push_back(fmt::format("-c {} instead of {}, to fit the budget", chosen.context, wanted.context));
  }
}

plan::MemoryMap Engine::memory_map() const { return ram_->memory_map(profile_, device_->placement()); }

Status Engine::compute(std::span<const llama_token> tokens, std::int8_t* outputs) {
  // libllama only reads the tokens; its batch type has no const.
  llama_batch batch =
      llama_batch_get_one(const_cast<llama_token*>(tokens.data()), static_cast<std::int32_t>(tokens.size()));
  batch.logits = outputs;
  return decode(batch);
}

Status Engine::decode(const llama_batch& batch) {
  if (keeps_hidden_states_) {
    hidden_states_.clear();
    outputs_ = static_cast<std::size_t>(std::count(batch.logits, batch.logits + batch.n_tokens, 1));
  }
  const int result = llama_decode(context_.get(), batch);
  if (result == 0) return {};
  if (auto error = take_device_error()) return std::unexpected(std::move(*error));
  if (result == 1) return fail(ErrorCode::kInvalidArgument, "the context is full: use a larger -c");
  if (result == 2) return fail(ErrorCode::kCancelled, "the computation was cancelled");
  return std::unexpected(with_llama_error(ErrorCode::kInternal, "llama.cpp could not decode"));
}

Status Engine::decode(std::span<const llama_token> tokens, bool logits) {
  const std::size_t batch = llama_n_batch(context_.get());
  std::vector<std::int8_t> outputs(std::min(batch, tokens.size()), 0);
  for (std::size_t at = 0; at < tokens.size(); at += batch) {
    const auto some = tokens.subspan(at, std::min(batch, tokens.size() - at));
    outputs[some.size() - 1] = logits && at + some.size() == tokens.size();
    BRIMFUL_TRY_VOID(compute(some, outputs.data()));
  }
  return {};
}

}  // namespace brimful::engine
