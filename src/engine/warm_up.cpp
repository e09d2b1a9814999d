#include "engine/warm_up.h"

#include <algorithm>
#include <span>
#include <vector>

namespace brimful::engine {
namespace {

constexpr int kSteps = 4;  // CUDA makes a graph of a decode step that it has seen several times

/// Fills the context with `tokens` tokens without computing them: a driver takes more memory when more cells
/// are in use.
Status fill(Context& context, std::size_t tokens, const OpenedModel& model, GpuTier& gpus) {
  llama_memory_clear(llama_get_memory(context.get()), false);
  const auto skip = [&](bool on) {
    model.host().skip_computing(on);
    gpus.skip_computing(on);
  };
  skip(true);
  const Status filled = context.decode(std::vector<llama_token>(tokens, 0), false);
  skip(false);
  return filled;
}

}  // namespace

Status warm_up(Context& context, const OpenedModel& model, GpuTier& gpus) {
  const std::size_t cells = llama_n_ctx_seq(context.get());
  const std::vector<llama_token> tokens(std::min<std::size_t>(llama_n_ubatch(context.get()), cells), 0);
  if (model.only_embeds()) return context.decode(tokens);
  const auto warm = [&](std::size_t count) -> Status {
    BRIMFUL_TRY_VOID(fill(context, cells - count, model, gpus));
    return context.decode(std::span(tokens).first(count));
  };
  BRIMFUL_TRY_VOID(warm(tokens.size()));
  if (gpus.has_experts())
    BRIMFUL_TRY_VOID(warm(std::min<std::size_t>(plan::kMostTokensOfSlots, tokens.size())));
  BRIMFUL_TRY_VOID(fill(context, cells - std::min<std::size_t>(kSteps, cells), model, gpus));
  for (int i = 0; i < kSteps; ++i) BRIMFUL_TRY_VOID(context.decode(std::span(tokens).first(1)));
  llama_memory_clear(llama_get_memory(context.get()), false);
  return {};
}

}  // namespace brimful::engine
