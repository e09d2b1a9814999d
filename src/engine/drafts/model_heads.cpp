#include "engine/drafts/model_heads.h"

#include <llama-ext.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/drafts/draft_shapes.h"
#include "engine/llama_log.h"

namespace brimful::engine {
namespace {

using Clock = std::chrono::steady_clock;

// The first drafts have this length.
constexpr std::uint32_t kFirstLength = 3;

/// Tokens of sequence 0 at consecutive positions, as libllama takes them.
class Batch {
 public:
  Batch(std::span<const llama_token> tokens, std::size_t position) : tokens_(tokens.begin(), tokens.end()) {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      positions_.push_back(static_cast<llama_pos>(position + i));
      sequences_.push_back(&sequence_);
    }
    counts_.assign(tokens_.size(), 1);
    outputs_.assign(tokens_.size(), 0);
  }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  /// With the hidden state before each token. The last token has a result.
  [[nodiscard]] llama_batch with_states(std::vector<float>& states) {
    outputs_.back() = 1;
    llama_batch batch = get();
    batch.embd = states.data();
    return batch;
  }
  [[nodiscard]] llama_batch get() {
    return {.n_tokens = static_cast<std::int32_t>(tokens_.size()),
            .token = tokens_.data(),
            .embd = nullptr,
            .pos = positions_.data(),
            .n_seq_id = counts_.data(),
            .seq_id = sequences_.data(),
            .logits = outputs_.data()};
  }

 private:
  std::vector<llama_token> tokens_;
  std::vector<llama_pos> positions_;
  std::vector<std::int32_t> counts_;
  llama_seq_id sequence_ = 0;
  std::vector<llama_seq_id*> sequences_;
  std::vector<std::int8_t> outputs_;
};

}  // namespace

void ModelHeads::free_context() {
  speculative_.reset();
  context_.reset();
  target_ = nullptr;
  begin();
}

Status ModelHeads::make_context(const llama_context_params& like_target, std::uint32_t context,
                                std::uint32_t longest) {
  free_context();
  longest_ = longest;
  llama_context_params params = like_target;
  params.ctx_type = LLAMA_CONTEXT_TYPE_MTP;
  params.n_ctx = context;
  params.n_batch = params.n_ubatch = 1 + longest;
  params.n_outputs_max = params.n_seq_max = 1;
  params.kv_unified = false;
  params.type_k = params.type_v = GGML_TYPE_F16;
  context_.reset(llama_init_from_model(model_, params));
  if (context_ != nullptr && llama_get_memory(context_.get()) != nullptr) return {};
  context_.reset();
  return std::unexpected(with_llama_error(ErrorCode::kUnsupported,
                                          "the model's own layers cannot draft: llama.cpp makes no context "
                                          "for them"));
}

void ModelHeads::watch(llama_context* target) { llama_set_embeddings_nextn(target, true, true); }

Status ModelHeads::connect(llama_context* target) {
  target_ = target;
  llama_set_embeddings_nextn(context_.get(), true, true);
  BRIMFUL_TRY_VOID(record());
  return draft_up_to(std::min(kFirstLength, longest_));
}

Status ModelHeads::record() {
  llama_memory_t const memory = llama_get_memory(context_.get());
  const auto width = static_cast<std::size_t>(llama_model_n_embd_out(model_));
  bool fed = true;
  host_.record_drafts(true);
  for (const std::uint32_t count : {1 + longest_, 1U}) {
    std::vector<float> states(count * width, 0.0F);
    Batch batch(std::vector<llama_token>(count, 0), 0);
    llama_memory_clear(memory, false);
    fed = fed && llama_decode(context_.get(), batch.with_states(states)) == 0;
  }
  host_.record_drafts(false);
  llama_memory_clear(memory, false);
  BRIMFUL_TRY_VOID(take_error());
  if (fed) return {};
  return std::unexpected(with_llama_error(
      ErrorCode::kUnsupported, "the model's own layers cannot draft: llama.cpp cannot build their graph"));
}

/// Makes llama-common's part for drafts of this length.
Status ModelHeads::draft_up_to(std::uint32_t tokens) {
  length_ = wanted_ = tokens;
  has_state_ = false;
  speculative_.reset();
  common_params_speculative params;
  params.types = {COMMON_SPECULATIVE_TYPE_DRAFT_MTP};
  params.draft.ctx_tgt = target_;
  params.draft.ctx_dft = context_.get();
  params.draft.n_max = static_cast<std::int32_t>(tokens);
  params.draft.backend_sampling = false;
  speculative_.reset(common_speculative_init(params, 1));
  watch(target_);  // llama-common wants the hidden states of all tokens, which is another graph
  if (speculative_ != nullptr) return {};
  return fail(ErrorCode::kInternal, "llama.cpp cannot draft with the model's own layers");
}

Bytes ModelHeads::runtime_bytes() const {
  if (!used()) return {};
  const auto width = static_cast<std::uint64_t>(llama_model_n_embd_out(model_));
  const auto vocabulary = static_cast<std::uint64_t>(llama_vocab_n_tokens(llama_model_get_vocab(model_)));
  // llama-common's sampler, and the hidden states in its batch, and of the last pass.
  return Bytes{sizeof(llama_token_data)} * vocabulary + Bytes{3 * sizeof(float)} * (width * (1 + longest_));
}

void ModelHeads::begin() {
  has_state_ = false;
  next_ = 0;
}

Status ModelHeads::take_error() {
  if (auto error = host_.take_error(); error && error->code != ErrorCode::kCancelled)
    return std::unexpected(std::move(*error));
  return {};
}

Status ModelHeads::computed(std::span<const llama_token> tokens, std::size_t position) {
  if (!used()) return {};
  llama_memory_t const memory = llama_get_memory(context_.get());
  if (position != next_) begin();
  if (!has_state_ && next_ == 0) llama_memory_clear(memory, false);
  if (wanted_ != length_) BRIMFUL_TRY_VOID(draft_up_to(wanted_));
  const auto first = static_cast<llama_pos>(position);
  llama_memory_seq_rm(memory, 0, first, -1);  // what was drafted has other hidden states
  const bool fed = common_speculative_process(speculative_.get(), Batch(tokens, position).get());
  if (!fed) {
    begin();
    return take_error();
  }
  // The first token was computed with the hidden state before it, which nobody has: it is forgotten.
  if (!has_state_) llama_memory_seq_rm(memory, 0, first, first + 1);
  has_state_ = true;
  next_ = position + tokens.size();
  return {};
}

Result<Drafter::Draft> ModelHeads::draft(const std::vector<llama_token>& text, llama_token last,
                                         std::size_t most) {
  Draft out;
  most = std::min<std::size_t>(most, longest_);
  if (most == 0 || !used()) return out;
  const std::vector<std::uint32_t> lengths = draft_lengths(longest_);
  wanted_ = *std::ranges::find_if(lengths, [&](std::uint32_t length) { return length >= most; });
  if (!has_state_ || next_ != text.size() || text.size() + length_ > llama_n_ctx(context_.get())) return out;
  const auto begin = Clock::now();
  common_speculative_draft_params& params = common_speculative_get_draft_params(speculative_.get(), 0);
  params.drafting = true;
  params.pos0 = static_cast<llama_pos>(text.size());
  params.id_last = last;
  params.prompt = &text;
  params.result = &out.tokens;
  common_speculative_draft(speculative_.get());
  out.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  BRIMFUL_TRY_VOID(take_error());
  if (out.tokens.size() > most) {
    out.seconds *= static_cast<double>(most) / static_cast<double>(out.tokens.size());
    out.tokens.resize(most);
  }
  return out;
}

}  // namespace brimful::engine
