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

LogProbabilities public_form(const schedule::WrittenLogprobs& place) {
  LogProbabilities out{.written = public_form(place.written)};
  for (const schedule::Logprob& one : place.top) out.top.push_back(public_form(one));
  return out;
}

}  // namespace

RunningRequest::RunningRequest(chat::ChatParser parser, Callbacks callbacks, Completion completion)
    : stream_(std::move(parser)), callbacks_(std::move(callbacks)), completion_(std::move(completion)) {}

void RunningRequest::add(const schedule::Piece& piece) { show(stream_.add(piece.text)); }

void RunningRequest::show(const std::vector<chat::ChatDelta>& deltas) {
  for (const chat::ChatDelta& delta : deltas) {
    completion_.text += delta.content;
    completion_.reasoning += delta.reasoning;
    // The callback may call cancel(), so `shows_` is read again after it.
    if (shows_ && !delta.content.empty() && callbacks_.on_text)
      shows_ = callbacks_.on_text(delta.content) && shows_;
  }
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
  completion_.reason = reason_of(answer->reason);
  if (callbacks_.on_end) callbacks_.on_end(std::move(completion_));
}

}  // namespace brimful::session
