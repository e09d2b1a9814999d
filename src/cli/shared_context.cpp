#include "cli/shared_context.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/progress.h"
#include "cli/memory_map.h"

namespace strata::cli {
namespace {

// Chat templates, grammars and the texts of requests that wait. Estimated.
constexpr Bytes kRequests{32ULL << 20};
constexpr std::uint32_t kPrefixes = 2;      // sequences beside those of requests
constexpr std::uint64_t kPartForCache = 4;  // of the budget, at most: weights that stay are worth more
constexpr std::uint64_t kMostCells = 1U << 20;
constexpr std::uint64_t kStep = 256;  // libllama pads contexts to this

std::uint32_t cells(std::uint64_t tokens) {
  return static_cast<std::uint32_t>(align_up(std::min(tokens, kMostCells), kStep));
}

}  // namespace

Status prepare_shared(engine::Engine& engine, engine::ContextOptions context,
                      const ExpectedRequests& expected) {
  context.drafts = {};
  context.shared_cells = true;
  context.embeddings = true;
  context.sequences = expected.requests + kPrefixes;
  const auto vocabulary = static_cast<std::uint64_t>(llama_vocab_n_tokens(engine.vocab()));
  context.client_reserve = kRequests + expected.client_reserve +
                           Bytes{2 * sizeof(llama_token_data) * vocabulary} * expected.requests;
  if (engine.only_embeds()) return engine.prepare(context);  // no cache to share
  const bool chosen = context.context.has_value();
  const std::uint32_t least = cells(expected.most_tokens);
  if (!chosen) {
    context.least_context = least;
    context.context = std::max(least, cells(expected.requests * expected.mean_tokens));
  }
  for (;;) {
    const Status prepared = engine.prepare(context);
    const bool too_much = prepared ? engine.plan().demand.kv_cache * kPartForCache > engine.plan().budget
                                   : prepared.error().code == ErrorCode::kInfeasible;
    if (chosen || !too_much || *context.context <= least) return prepared;
    context.context = std::max(least, cells(*context.context / 2));
  }
}

Status start_and_show(engine::Engine& engine, const std::function<bool()>& stopped) {
  {
    std::optional<ProgressBar> bar;
    STRATA_TRY_VOID(engine.start([&](Bytes done, Bytes total) {
      if (!bar) bar.emplace("loading", total);
      bar->update(done);
      return !stopped();
    }));
  }
  for (const std::string& note : engine.notes()) fmt::print(stderr, "note: {}\n", note);
  for (const engine::DeviceUse& device : engine.devices())
    fmt::print(stderr, "{}", draw_device_map(device.share));
  fmt::print(stderr, "{}", draw_memory_map(engine.memory_map()));
  return {};
}

}  // namespace strata::cli
