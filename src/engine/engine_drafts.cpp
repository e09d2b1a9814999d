// The part of Engine for drafts: passes of several tokens that may turn out to be wrong.

#include <fmt/format.h>

#include <algorithm>

#include "engine/engine.h"

namespace brimful::engine {
namespace {

// libllama attends to a multiple of so many cells of the KV cache.
constexpr std::uint32_t kCellStep = 256;

}  // namespace

Status Engine::prepare_drafts(ContextShape shape, const llama_context_params& params) {
  longest_draft_ = shape.draft;
  if (draft_model_) BRIMFUL_TRY_VOID(draft_model_->make_context(context_.get(), params));
  return shape.draft > 0 ? record_verification(shape) : Status{};
}

Status Engine::record_verification(ContextShape shape) {
  llama_memory_t const memory = llama_get_memory(context_.get());
  const std::vector<llama_token> tokens(1 + shape.draft, 0);
  device_->learn_one_token();
  Status status = verify(std::span(tokens).first(1));
  if (status) status = verify(tokens);
  if (status && !llama_memory_seq_rm(memory, 0, 1, -1))
    status = fail(ErrorCode::kUnsupported, "its memory cannot forget the last tokens");
  longest_draft_ = static_cast<std::uint32_t>(device_->most_tokens() - 1);
  llama_memory_clear(memory, false);
  if (status || status.error().code != ErrorCode::kUnsupported) return status;
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: drafts cannot be checked with this model: {}; use --spec-type none",
                          options_.model.string(), status.error().message));
}

std::size_t Engine::room_for_draft() const {
  const auto next =
      static_cast<std::uint32_t>(llama_memory_seq_pos_max(llama_get_memory(context_.get()), 0) + 1);
  // Attention sees the KV cache in steps. A token must not see more of it than it would see alone.
  const std::uint64_t end =
      std::min<std::uint64_t>(align_up(next + 1, kCellStep), llama_n_ctx(context_.get()));
  return next < end ? std::min<std::size_t>(longest_draft_, end - next - 1) : 0;
}

Status Engine::verify(std::span<const llama_token> tokens) {
  std::vector<std::int8_t> outputs(tokens.size(), 1);
  // The number of threads is the one for single tokens: even that can change the last bits.
  llama_set_n_threads(context_.get(), options_.threads, options_.threads);
  device_->token_by_token(true);
  Status status = compute(tokens, outputs.data());
  device_->token_by_token(false);
  llama_set_n_threads(context_.get(), options_.threads, options_.threads_batch);
  return status;
}

}  // namespace brimful::engine
