#include "engine/engine.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "engine/llama_log.h"
#include "memory/program_pages.h"

namespace brimful::engine {

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

constexpr std::uint32_t kLargestBatch = 2048;

Error with_llama_error(ErrorCode code, std::string what) {
  const std::string why = take_llama_error();
  return Error{code, why.empty() ? std::move(what) : fmt::format("{} ({})", what, why)};
}

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
  gpus_ = std::make_unique<GpuTier>(options_, profile_, *device_);
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
  if (!gpus_->empty() &&
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

ContextSizer Engine::sizer() const {
  return {{.file = options_.model.string(),
           .train_context = profile_.train_context,
           .vocabulary = llama_vocab_n_tokens(vocab()),
           .only_embeds = only_embeds_,
           .is_recurrent = llama_model_is_recurrent(model_.get()),
           .has_draft_model = draft_model_ != nullptr},
          ram_->bytes()};
}

void Engine::free_context() {
  if (draft_model_) draft_model_->free_context();
  context_.reset();
  gpus_->forget_buffers();
}

Status Engine::make_context(const ContextOptions& options, ContextShape shape) {
  free_context();
  device_->forget_needs();
  llama_context_params params = llama_context_default_params();
  params.n_ctx = shape.context;
  params.n_batch =
      options.shared_cells ? shape.ubatch : std::max(options.batch.value_or(kLargestBatch), shape.ubatch);
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
  device_->leave_batches(gpus_->batches_elsewhere());
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

Status Engine::record_graphs(ContextShape shape) {
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
  if (gpus_->has_experts()) {  // the host must see the graph with the experts that it may have to compute
    gpus_->leave_experts(true);
    feed_first(tokens.size());
    gpus_->leave_experts(false);
    feed_first(1);  // without another graph in between, libllama would reuse the first one
  }
  feed_first(tokens.size());
  // The largest batch that stays on the host although larger ones go to a device, and the largest batch that
  // uses the slots for experts.
  for (const std::int64_t count : gpus_->batch_thresholds()) {
    if (count > 0 && static_cast<std::size_t>(count) < tokens.size())
      feed_first(static_cast<std::size_t>(count));
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

Result<plan::HostDemand> Engine::demand(const ContextSizer& sizer, const ContextOptions& options) const {
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
  out.growth = sizer.growth(needs, out.kv_cache + out.compute, options.client_reserve) + gpus_->host_bytes();
  out.uses = std::move(needs.uses);
  return out;
}

Status Engine::prepare(const ContextOptions& wanted) {
  BRIMFUL_TRY_VOID(ram_->decide_first());
  notes_ = options_.notes;
  if (ram_->note()) notes_.push_back(*ram_->note());
  if (const auto note = vocabulary_note(model_.get())) notes_.push_back(*note);
  ContextOptions options = wanted;
  if (!gpus_->empty()) options.drafts = {};  // drafts cannot be checked bit for bit on devices yet
  draft_options_ = options.drafts;
  const ContextSizer sizer = this->sizer();
  const std::vector<ContextShape> shapes = sizer.shapes_to_try(options);
  BRIMFUL_TRY_VOID(sizer.check_prompt(options, shapes.front()));
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const bool last = i + 1 == shapes.size();
    BRIMFUL_TRY(const Bytes room, ram_->room());
    if (const Status fits = sizer.check_list(shapes[i], room); !fits) {
      if (last) return fits;
      continue;
    }
    if (gpus_->model() != nullptr) BRIMFUL_TRY_VOID(load_on_devices({}));
    const Status made = make_context(options, shapes[i]);
    if (!made && made.error().code == ErrorCode::kUnsupported && shapes[i].can_go_without_draft) continue;
    BRIMFUL_TRY_VOID(made);
    BRIMFUL_TRY(plan::HostDemand demand, this->demand(sizer, options));
    if (!gpus_->empty()) {
      BRIMFUL_TRY_VOID(use_devices(options, shapes[i], demand));
      BRIMFUL_TRY(demand, this->demand(sizer, options));
    }
    if (demand.least() > ram_->bytes()) {
      if (!last) continue;
      return std::unexpected(sizer.infeasible(demand, options, shapes[i], ram_->note()));
    }
    if (!last && sizer.ubatch_is_dear(options, shapes[i], demand)) continue;

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
    if (shapes[i].can_go_without_draft && sizer.drafts_are_dear(device_->needs(), placement.units.size()))
      continue;
    std::ranges::move(notes_on_shape(shapes.front(), shapes[i]), std::back_inserter(notes_));
    if (!gpus_->empty() && wanted.drafts.ngrams)
      notes_.emplace_back("no drafts: with --vram there are none yet");
    std::ranges::move(gpus_->notes_on_shares(), std::back_inserter(notes_));
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
  const Bytes total = gpus_->weights_to_place() + plan.placement.resident + plan.placement.slot_bytes();
  BRIMFUL_TRY(const Bytes placed, gpus_->place(ram_->pool(), [&](Bytes done) {
    return !progress || progress(std::min(done, total), total);
  }));
  BRIMFUL_TRY_VOID(device_->place(std::move(plan.placement), [&](Bytes done, Bytes all) {
    return !progress || progress(placed + done, placed + all);
  }));
  BRIMFUL_TRY_VOID(gpus_->connect());
  std::ranges::move(gpus_->notes_on_copies(), std::back_inserter(notes_));
  return {};
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
