#include "session/running_request.h"

#include <utility>

namespace brimful::session {
namespace {

StopReason reason_of(engine::StopReason reason) {
  switch (reason) {
    case engine::StopReason::kEndOfText: return StopReason::kEndOfText;
    case engine::StopReason::kLimit: return StopReason::kLimit;
    case engine::StopReason::kContextFull: return StopReason::kContextFull;
    case engine::StopReason::kStopString: return StopReason::kStopString;
    case engine::StopReason::kCancelled: break;
  }
  return StopReason::kCancelled;
}

TokenLogProbability public_form(const schedule::Logprob& one) { return {one.token, one.logprob}; }

Timings public_form(const schedule::AnswerTimes& times, std::uint32_t preempted) {
  return {.first_token_seconds = times.first_token.count(),
          .seconds = times.whole.count(),
          .prompt_seconds = times.prompt.count(),
          .answer_seconds = times.decode.count(),
          .answer_passes = times.decode_passes,
          .draft_tokens = times.drafted,
          .draft_tokens_accepted = times.accepted,
          .preempted = preempted};
}

LogProbabilities public_form(const schedule::WrittenLogprobs& place) {
  LogProbabilities out{.written = public_form(place.written)};
  for (const schedule::Logprob& one : place.top) out.top.push_back(public_form(one));
  return out;
}

}  // namespace

RunningRequest::RunningRequest(chat::ChatParser parser, Callbacks callbacks, Completion completion)
    : stream_(std::move(parser)), callbacks_(std::move(callbacks)), completion_(std::move(completion)) {}

void RunningRequest::add(const schedule::Piece& piece) {
  if (callbacks_.on_delta) {
    for (const schedule::WrittenLogprobs& place : piece.logprobs) untold_.push_back(public_form(place));
  }
  show(stream_.add(piece.text));
}

void RunningRequest::show(const std::vector<chat::ChatDelta>& deltas) {
  for (const chat::ChatDelta& delta : deltas) {
    completion_.text += delta.content;
    completion_.reasoning += delta.reasoning;
    // The callbacks may call cancel(), so `shows_` is read again after them.
    if (shows_) shows_ = tell(delta) && shows_;
  }
}

/// Calls the callbacks. Returns false when one of them wants no more.
bool RunningRequest::tell(const chat::ChatDelta& delta) {
  if (callbacks_.on_text && !delta.content.empty() && !callbacks_.on_text(delta.content)) return false;
  if (!callbacks_.on_delta || !shows_) return true;
  Delta out{
      .text = delta.content, .reasoning = delta.reasoning, .log_probabilities = std::exchange(untold_, {})};
  if (delta.call)
    out.call = {delta.call->index,
                {delta.call->added.id, delta.call->added.name, delta.call->added.arguments}};
  return callbacks_.on_delta(out);
}

void RunningRequest::end(Result<schedule::Answer> answer) {
  if (!answer) {
    if (callbacks_.on_end) callbacks_.on_end(std::unexpected(answer.error()));
    return;
  }
  show(stream_.end());
  for (const chat::ToolCall& call : stream_.told().tool_calls)
    completion_.tool_calls.push_back({call.id, call.name, call.arguments});
  for (const schedule::WrittenLogprobs& place : answer->logprobs)
    completion_.log_probabilities.push_back(public_form(place));
  completion_.tokens = std::move(answer->token_ids);
  completion_.prompt_tokens_cached = answer->prompt_shared;
  completion_.timings = public_form(answer->times, answer->preempted);
  completion_.reason = reason_of(answer->reason);
  if (callbacks_.on_end) callbacks_.on_end(std::move(completion_));
}

}  // namespace brimful::session
