#include "engine/context.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "engine/drafts/draft_shapes.h"
#include "engine/graph_recording.h"
#include "engine/llama_log.h"

namespace brimful::engine {
namespace {

constexpr std::uint32_t kDefaultBatch = 2048;
// libllama attends to a multiple of so many cells of the KV cache.
constexpr std::uint32_t kCellStep = 256;
constexpr const char* kHiddenState = "result_norm";  // its name in libllama's graphs

/// The tokens as the next ones of sequence 0. `outputs`: whether each one's logits are wanted. The batch
/// refers to both.
llama_batch batch_of(std::span<const llama_token> tokens, std::vector<std::int8_t>& outputs) {
  // libllama only reads the tokens; its batch type has no const.
  llama_batch batch =
      llama_batch_get_one(const_cast<llama_token*>(tokens.data()), static_cast<std::int32_t>(tokens.size()));
  batch.logits = outputs.data();
  return batch;
}

/// The number of sequences that the tokens of a batch belong to.
std::int64_t sequences_in(const llama_batch& batch) {
  if (batch.seq_id == nullptr) return 1;
  std::set<llama_seq_id> all;
  for (std::int32_t i = 0; i < batch.n_tokens; ++i)
    all.insert(batch.seq_id[i], batch.seq_id[i] + batch.n_seq_id[i]);
  return static_cast<std::int64_t>(all.size());
}

bool abort_requested(void* data) { return static_cast<const std::atomic<bool>*>(data)->load(); }

}  // namespace

void Context::free() {
  // Both refer to this context.
  if (DraftModel* const draft = model_.draft_model()) draft->free_context();
  if (ModelHeads* const heads = model_.heads()) heads->free_context();
  context_.reset();
  gpus_.forget_buffers();
}

llama_context_params Context::params_for(const ContextOptions& options, ContextShape shape) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = shape.context;
  params.n_batch =
      options.shared_cells ? shape.ubatch : std::max(options.batch.value_or(kDefaultBatch), shape.ubatch);
  params.n_ubatch = shape.ubatch;
  params.n_seq_max = options.sequences;
  params.kv_unified = options.shared_cells;
  params.n_outputs_max = std::max(options.sequences, 1 + shape.draft);
  if (!gpus_.empty() && options.shared_cells)  // only a scheduler's context has drafts
    params.n_outputs_max = std::max(params.n_outputs_max, std::min(kResultsOfDraft, shape.ubatch));
  if (options.outputs) params.n_outputs_max = std::max(params.n_outputs_max, *options.outputs);
  if (options.observer.look != nullptr) {
    params.cb_eval = observe;
    params.cb_eval_user_data = this;
  }
  if (model_.only_embeds()) {  // every token is an output; libllama wants a ubatch that n_seq_max divides
    params.n_outputs_max = shape.ubatch;
    while (shape.ubatch % params.n_seq_max != 0) --params.n_seq_max;
  }
  params.embeddings = model_.only_embeds();
  params.n_threads = model_.options().threads;
  params.n_threads_batch = model_.options().threads_batch;
  params.type_k = options.type_k;
  params.type_v = options.type_v;
  params.flash_attn_type = options.flash_attention;
  params.abort_callback = abort_requested;
  params.abort_callback_data = &aborted_;
  params.no_perf = true;
  return params;
}

Status Context::make(const ContextOptions& options, ContextShape shape) {
  free();
  tier::HostDevice& host = model_.host();
  host.forget_needs();
  const llama_context_params params = params_for(options, shape);
  observer_ = options.observer;
  recording_ = true;
  // libllama switches flash attention off when it is not on the device of its layer, in a graph with one
  // token of each sequence.
  const tier::HostDevice::Elsewhere elsewhere = gpus_.batches_elsewhere(params.n_ubatch, params.n_seq_max);
  host.set_sequences(params.n_seq_max);
  ModelHeads* const heads = shape.heads ? model_.heads() : nullptr;
  if (heads != nullptr) BRIMFUL_TRY_VOID(heads->make_context(params, shape.context, shape.draft));
  host.leave_batches({.tokens = elsewhere.tokens,
                      .attention = std::min(elsewhere.attention, tier::HostDevice::Attention::kOfPrompts)});
  context_.reset(llama_init_from_model(gpus_.model() != nullptr ? gpus_.model() : model_.get(), params));
  host.leave_batches(elsewhere);
  if (context_ == nullptr) {
    if (auto error = take_device_error()) return std::unexpected(std::move(*error));
    return std::unexpected(with_llama_error(
        ErrorCode::kInvalidArgument,
        fmt::format("llama.cpp refuses this context: {} {} {} {}", model_.options().names.context,
                    shape.context, model_.options().names.ubatch, shape.ubatch)));
  }
  if (llama_get_memory(context_.get()) == nullptr && !(model_.only_embeds() && options.embeddings)) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: it does not write text token by token ({})", model_.options().model.string(),
                    model_.only_embeds() ? "it only makes embeddings: use brimful serve or brimful batch"
                                         : "diffusion models are not supported yet"));
  }
  BRIMFUL_TRY_VOID(model_.adapters().apply(context_.get()));
  if (heads != nullptr) ModelHeads::watch(context_.get());
  const LargestBatch largest{options.outputs.value_or(0), options.sequence_tokens};
  BRIMFUL_TRY_VOID(record_graphs(context_.get(), params, model_.only_embeds(), largest, host, gpus_));
  longest_draft_ = shape.draft;
  if (const auto most = gpus_.most_tokens_of_decode())
    longest_draft_ = static_cast<std::uint32_t>(std::clamp<std::int64_t>(*most - 1, 0, longest_draft_));
  gpus_.learn_one_token();
  if (DraftModel* const draft = model_.draft_model())
    BRIMFUL_TRY_VOID(draft->make_context(context_.get(), params));
  if (heads != nullptr) BRIMFUL_TRY_VOID(heads->connect(context_.get()));
  if (longest_draft_ > 0) BRIMFUL_TRY_VOID(record_verification());
  recording_ = false;
  return {};
}

/// libllama's scheduler calls this for each node. A graph that is only recorded is given to the devices as a
/// whole, so that they see which weights it uses together.
bool Context::observe(ggml_tensor* node, bool ask, void* context) {
  const Context& self = *static_cast<const Context*>(context);
  if (self.recording_) return !ask;
  return self.observer_.look(node, ask, self.observer_.data);
}

/// Shows the graphs of verify() to all devices, which may find that only shorter drafts are possible.
Status Context::record_verification() {
  Status status;
  if (gpus_.has_experts()) {  // the host may have to compute the experts
    gpus_.leave_experts(true);
    // Without another graph in between, libllama would use that of the last token again.
    status = decode(std::vector<llama_token>(1 + longest_draft_, 0));
    llama_memory_clear(llama_get_memory(context_.get()), false);
    if (status) status = record_passes_of_one_and_several();
    gpus_.leave_experts(false);
  }
  if (status) status = record_passes_of_one_and_several();
  std::vector<std::uint32_t> passes;
  for (const std::uint32_t length : draft_lengths(longest_draft_)) passes.push_back(1 + length);
  gpus_.set_draft_passes(std::move(passes));
  if (status || status.error().code != ErrorCode::kUnsupported) return status;
  return fail(ErrorCode::kUnsupported, fmt::format("{}: drafts cannot be checked with this model: {}; use {}",
                                                   model_.options().model.string(), status.error().message,
                                                   model_.options().names.no_drafts));
}

Status Context::record_passes_of_one_and_several() {
  llama_memory_t const memory = llama_get_memory(context_.get());
  const std::vector<llama_token> tokens(1 + longest_draft_, 0);
  model_.host().learn_one_token();
  gpus_.learn_one_token();
  Status status = verify(std::span(tokens).first(1));
  if (status) status = verify(tokens);
  if (status && !(model_.host().matched() && gpus_.matched()))
    status = fail(ErrorCode::kUnsupported, "several tokens have fewer operations than one");
  if (status && !llama_memory_seq_rm(memory, 0, 1, -1))
    status = fail(ErrorCode::kUnsupported, "it cannot remove the last tokens from its state");
  longest_draft_ =
      static_cast<std::uint32_t>(std::min<std::int64_t>(longest_draft_, model_.host().most_tokens() - 1));
  llama_memory_clear(memory, false);
  return status;
}

Status Context::decode(const llama_batch& batch) {
  if (keeps_hidden_states_) {
    hidden_states_.clear();
    outputs_ = static_cast<std::size_t>(std::count(batch.logits, batch.logits + batch.n_tokens, 1));
  }
  if (!gpus_.empty()) model_.host().set_sequences(sequences_in(batch));
  const int result = llama_decode(context_.get(), batch);
  if (result == 0) return {};
  if (auto error = take_device_error()) return std::unexpected(std::move(*error));
  if (result == 1)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the context is full: use a larger {}", model_.options().names.context));
  if (result == 2) return fail(ErrorCode::kCancelled, "the computation was cancelled");
  return std::unexpected(with_llama_error(ErrorCode::kInternal, "llama.cpp could not decode"));
}

Status Context::decode(std::span<const llama_token> tokens, bool logits) {
  const std::size_t batch = llama_n_batch(context_.get());
  std::vector<std::int8_t> outputs(std::min(batch, tokens.size()), 0);
  for (std::size_t at = 0; at < tokens.size(); at += batch) {
    const auto some = tokens.subspan(at, std::min(batch, tokens.size() - at));
    outputs[some.size() - 1] = logits && at + some.size() == tokens.size() ? 1 : 0;
    BRIMFUL_TRY_VOID(decode(batch_of(some, outputs)));
  }
  return {};
}

Status Context::verify(std::span<const llama_token> tokens) {
  std::vector<std::int8_t> outputs(tokens.size(), 1);
  return verify(batch_of(tokens, outputs));
}

Status Context::verify(const llama_batch& batch) {
  const OpenOptions& options = model_.options();
  // The number of threads is the one for single tokens: even that can change the last bits.
  llama_set_n_threads(context_.get(), options.threads, options.threads);
  token_by_token(true);
  Status status = decode(batch);
  token_by_token(false);
  llama_set_n_threads(context_.get(), options.threads, options.threads_batch);
  return status;
}

void Context::token_by_token(bool on) {
  model_.host().token_by_token(on);
  gpus_.token_by_token(on);
}

std::size_t Context::draft_within(std::size_t drafted) const {
  if (gpus_.model() == nullptr) return drafted;
  return draft_length_within(longest_draft_, static_cast<std::uint32_t>(drafted));
}

/// Sets whether only the devices compute, and neither the host nor what experts have slots has a part in it.
void Context::pretend(bool on) {
  model_.host().pretend_results(on);
  gpus_.pretend(on ? tier::Lack::kNothing : tier::Lack::kAsItIs);
  gpus_.freeze_experts(on);
}

Result<bool> Context::check_drafts() {
  if (gpus_.model() == nullptr || longest_draft_ == 0) return true;
  pretend(true);
  auto same = devices_compute_the_same();
  pretend(false);
  gpus_.measure_kernels(false);
  gpus_.digest_passes(0);
  std::ignore = gpus_.take_digests();
  llama_memory_clear(llama_get_memory(context_.get()), false);
  if (same && !*same) longest_draft_ = 0;
  return same;
}

Result<bool> Context::devices_compute_the_same() {
  llama_memory_t const memory = llama_get_memory(context_.get());
  const int vocabulary = llama_vocab_n_tokens(model_.vocab());
  std::vector<llama_token> tokens;
  for (int i = 0; std::cmp_less_equal(i, longest_draft_); ++i) tokens.push_back(i % vocabulary);
  gpus_.measure_kernels(true);
  BRIMFUL_TRY_VOID(verify(tokens));
  gpus_.measure_kernels(false);
  llama_memory_clear(memory, false);
  gpus_.digest_passes(1);
  std::vector<std::vector<std::uint64_t>> expected;
  for (const llama_token token : tokens) {
    BRIMFUL_TRY_VOID(decode(std::span(&token, 1)));
    const auto digests = gpus_.take_digests();
    if (digests.empty()) return true;  // devices have no part in such passes
    expected.push_back(digests.front());
  }
  for (const std::uint32_t length : draft_lengths(longest_draft_)) {
    llama_memory_clear(memory, false);
    gpus_.digest_passes(1 + length);
    BRIMFUL_TRY_VOID(verify(std::span(tokens).first(1 + length)));
    const auto got = gpus_.take_digests();
    if (!std::ranges::equal(got, std::span(expected).first(1 + length))) return false;
  }
  return true;
}

Status Context::warm_up_drafts(std::size_t times) {
  if (gpus_.model() == nullptr) return {};
  llama_memory_t const memory = llama_get_memory(context_.get());
  const llama_pos next = llama_memory_seq_pos_max(memory, 0) + 1;
  Status status;
  pretend(true);
  // A pass in which some experts have no slot is another graph than one in which all have.
  for (const tier::Lack lack : {tier::Lack::kSomething, tier::Lack::kNothing}) {
    gpus_.pretend(lack);
    for (const std::uint32_t length : draft_lengths(longest_draft_)) {
      for (std::size_t i = 0; i < times && status; ++i) {
        status = verify(std::vector<llama_token>(1 + length, 0));
        llama_memory_seq_rm(memory, 0, next, -1);
      }
    }
    if (!gpus_.has_experts()) break;
  }
  pretend(false);
  return status;
}

std::size_t Context::room_for_draft(std::size_t computed) const {
  const auto next = static_cast<std::uint32_t>(computed);
  // Attention sees the KV cache in steps. A token must not see more of it than it would see alone.
  const std::uint64_t end =
      std::min<std::uint64_t>(align_up(next + 1, kCellStep), llama_n_ctx(context_.get()));
  if (next >= end || longest_draft_ == 0) return 0;
  const std::size_t of_devices = gpus_.room_for_deferred().value_or(end - next);
  return std::min<std::size_t>(longest_draft_, std::min(end - next, of_devices) - 1);
}

void Context::keep_hidden_states(bool on) {
  if (keeps_hidden_states_ == on) return;
  keeps_hidden_states_ = on;
  std::vector<float>* const to = on ? &hidden_states_ : nullptr;
  model_.host().keep(kHiddenState, to);
  gpus_.keep(kHiddenState, to);
}

Result<std::vector<float>> Context::hidden_state(std::size_t nth) const {
  const std::size_t size = outputs_ > 0 ? hidden_states_.size() / outputs_ : 0;
  if (size == 0 || hidden_states_.size() % outputs_ != 0)
    return fail(ErrorCode::kUnsupported, "this model's graph does not show the vectors of texts");
  const auto begin = hidden_states_.begin() + static_cast<std::ptrdiff_t>(nth * size);
  return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(size));
}

std::optional<Error> Context::take_device_error() {
  if (auto error = model_.host().take_error()) return error;
  return gpus_.take_error();
}

}  // namespace brimful::engine
