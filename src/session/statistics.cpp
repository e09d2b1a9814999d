#include "session/statistics.h"

#include <chrono>

namespace brimful::session {

Statistics statistics_of(const engine::Engine& engine, const schedule::Scheduler& scheduler) {
  const schedule::Statistics& did = scheduler.statistics();
  const tier::PassStatistics passes = engine.pass_statistics();
  const tier::ExpertStatistics& experts = passes.experts;
  return {.passes = did.passes,
          .prompt_tokens = did.prompt_tokens,
          .prompt_tokens_cached = did.shared_tokens,
          .tokens = did.tokens,
          .draft_tokens = did.drafted,
          .draft_tokens_accepted = did.accepted,
          .preempted = did.preempted,
          .most_running = did.most_sequences,
          .seconds = did.seconds,
          .prompt_seconds = did.prompt_seconds,
          .answer_seconds = did.answer_seconds,
          .draft_seconds = did.draft_seconds,
          .answer_passes = did.decodes.passes,
          .answer_pass_tokens = did.decodes.tokens,
          .answer_pass_seconds = did.decodes.seconds,
          .stalled_seconds = std::chrono::duration<double>(passes.stalled).count(),
          .read = passes.read,
          .experts_used = experts.used,
          .experts_found = experts.hits,
          .experts_missed = experts.missed,
          .experts_read = experts.read,
          .experts_prefetched = experts.prefetched,
          .experts_wasted = experts.wasted,
          .loaded = engine.loaded_bytes(),
          .running = static_cast<std::uint32_t>(scheduler.running()),
          .waiting = static_cast<std::uint32_t>(scheduler.waiting()),
          .free_tokens = scheduler.free_cells()};
}

}  // namespace brimful::session
