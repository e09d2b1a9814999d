#include "session/conversation.h"

#include <optional>
#include <utility>

namespace brimful::session {
namespace {

/// What the passes of a turn took, found out from the scheduler's and the engine's counters.
class Meter {
 public:
  Meter(const engine::Engine& engine, const schedule::Statistics& counters, std::size_t prompt)
      : engine_(engine), counters_(counters), begin_(counters), progress_{.prompt = prompt} {}

  [[nodiscard]] const TurnProgress& progress() const { return progress_; }
  /// Called before each pass.
  void before_pass() { last_ = counters_; }
  /// Called after each pass that gave something.
  void after_pass(Turn& turn) {
    progress_.prompt_cached = counters_.shared_tokens - begin_.shared_tokens;
    progress_.prompt_computed = counters_.prompt_tokens - begin_.prompt_tokens;
    progress_.written = counters_.tokens - begin_.tokens;
    const std::chrono::duration<double> took{counters_.seconds - last_.seconds};
    if (counters_.decodes.passes == last_.decodes.passes) {
      turn.prompt_time += took;
      before_decoding_ = engine_.pass_statistics();
      return;
    }
    turn.decode_time += took;
    turn.decode_seconds.push_back(took.count());
  }
  /// Called when the turn has ended.
  void end(Turn& turn) const {
    const tier::PassStatistics now = engine_.pass_statistics();
    turn.prompt_computed = counters_.prompt_tokens - begin_.prompt_tokens;
    turn.decode_tokens = counters_.decodes.tokens - begin_.decodes.tokens;
    turn.drafted = counters_.drafted - begin_.drafted;
    turn.accepted = counters_.accepted - begin_.accepted;
    turn.draft_time = std::chrono::duration<double>(counters_.draft_seconds - begin_.draft_seconds);
    turn.decode_read = now.read - before_decoding_.read;
    turn.decode_experts = now.experts.since(before_decoding_.experts);
  }

 private:
  const engine::Engine& engine_;
  const schedule::Statistics& counters_;
  const schedule::Statistics begin_;
  schedule::Statistics last_;
  tier::PassStatistics before_decoding_ = engine_.pass_statistics();
  TurnProgress progress_;
};

}  // namespace

void shape_for_conversation(engine::ContextOptions& context) {
  context.sequences = 1;
  context.shared_cells = true;
}

Conversation::Conversation(engine::Engine& engine)
    : engine_(engine), scheduler_(engine, {.company = schedule::Scheduler::Company::kConversation}) {}

Result<Turn> Conversation::answer(schedule::Request request, const BeforePass& before_pass,
                                  const OnText& on_text) {
  request.priority = schedule::Priority::kInteractive;  // so that the text is kept for the next turn
  Turn turn;
  std::optional<Result<schedule::Answer>> ended;
  Meter meter(engine_, scheduler_.statistics(), request.prompt.size());
  BRIMFUL_TRY(
      const schedule::Scheduler::Id id,
      scheduler_.submit(std::move(request), {.on_piece =
                                                 [&](const schedule::Piece& piece) {
                                                   turn.text += piece.text;
                                                   return !on_text || on_text(piece.text);
                                                 },
                                             .on_end = [&](auto answer) { ended = std::move(answer); }}));
  while (!ended) {
    meter.before_pass();
    Status passed = before_pass ? before_pass(meter.progress()) : Status{};
    if (passed) {
      const auto stepped = scheduler_.step();
      if (!stepped) passed = std::unexpected(stepped.error());
    }
    if (passed) {
      meter.after_pass(turn);
      continue;
    }
    // Without a context, nothing may be asked of the scheduler.
    if (!engine_.can_go_on()) return std::unexpected(passed.error());
    scheduler_.cancel(id);
    if (passed.error().code != ErrorCode::kCancelled) return std::unexpected(passed.error());
  }
  meter.end(turn);
  if (!*ended) return std::unexpected(ended->error());
  turn.token_ids = std::move((*ended)->token_ids);
  turn.reason = (*ended)->reason;
  return turn;
}

}  // namespace brimful::session
