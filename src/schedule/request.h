#pragma once

#include <sampling.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/stop_reason.h"

namespace brimful::schedule {

/// Requests of a higher priority (kInteractive) are admitted first, and may preempt the others. Requests of
/// the same priority are admitted in the order of arrival.
enum class Priority { kInteractive, kBatch };

/// A request for a text that follows the prompt, or for an embedding vector of the prompt.
struct Request {
  /// At least one token.
  std::vector<llama_token> prompt;
  /// True: the request asks for a vector and no token is generated. Of the fields below, only the priority
  /// counts then.
  bool embed = false;
  common_params_sampling sampling;
  /// The largest number of tokens to generate. Negative: no limit; the answer ends when the model ends it or
  /// the context is full. 0: the prompt is computed, and nothing is generated.
  int limit = -1;
  /// The answer ends before the first of these strings.
  std::vector<std::string> stop_strings;
  /// True: special tokens in the answer become text.
  bool show_special = false;
  /// How many of the likeliest tokens are reported for each generated token, with their log probabilities.
  /// 0: only that of the generated token. Negative: no log probabilities at all.
  int top_logprobs = -1;
  Priority priority = Priority::kBatch;
  /// True: whoever sends this request twice expects the same tokens, because the temperature is 0 or a seed
  /// is set. While such a request runs alone, it gets the tokens that it gets in an empty context. See
  /// docs/design-same-tokens.md.
  bool repeatable = false;
};

/// The natural logarithm of a token's probability. It is the model's own probability, before temperature and
/// the other samplers.
struct Logprob {
  llama_token token = 0;
  double logprob = 0;
};
/// The log probabilities at one place of the answer.
struct WrittenLogprobs {
  /// The generated token.
  Logprob written;
  /// The likeliest tokens, in descending order; see Request::top_logprobs.
  std::vector<Logprob> top;
};

/// A part of an answer, passed on while the answer is being generated.
struct Piece {
  /// The bytes of the new tokens. A character may be cut at either end.
  std::string text;
  /// Log probabilities of the tokens generated since the last piece. Empty unless the request asks for them.
  std::vector<WrittenLogprobs> logprobs;
};

/// What an answer took. A pass that computes several requests counts for each of them, as a whole.
struct AnswerTimes {
  using Seconds = std::chrono::duration<double>;
  /// From submit() until the first token was generated; zero when none was.
  Seconds first_token{0};
  /// From submit() to the end.
  Seconds whole{0};
  /// Duration of the passes that computed tokens of the prompt.
  Seconds prompt{0};
  /// Duration of the passes that decoded, without the time to make drafts.
  Seconds decode{0};
  std::uint64_t decode_passes = 0;
  /// Number of tokens that were computed as drafts, and of those of them that were right.
  std::uint64_t drafted = 0;
  std::uint64_t accepted = 0;
};

/// The result of a request.
struct Answer {
  /// The scheduler leaves it empty; openai::submit() puts the pieces of the answer together here.
  std::string text;
  /// The generated tokens, including the end-of-text token.
  std::vector<llama_token> token_ids;
  /// Log probabilities of each generated token. Empty unless the request asks for them.
  std::vector<WrittenLogprobs> logprobs;
  /// One vector for an embedding request, otherwise empty. It is the model's output, not normalised.
  std::vector<std::vector<float>> vectors;
  /// Number of prompt tokens that were not computed, because their KV cells were shared with another text.
  std::size_t prompt_shared = 0;
  /// How often the request was preempted.
  std::uint32_t preempted = 0;
  AnswerTimes times;
  engine::StopReason reason = engine::StopReason::kLimit;
};

/// Functions that receive the answer. The scheduler calls them between passes, on the thread that calls the
/// scheduler. They may not call the scheduler. Only `on_piece` may be unset.
struct Callbacks {
  /// Receives each new piece of the answer; its text is never empty. Returning false ends the request with
  /// StopReason::kCancelled.
  std::function<bool(Piece piece)> on_piece;
  /// Called once, at the end, also after cancel(). Errors: those of the sampler, or of reading the vector.
  std::function<void(Result<Answer> answer)> on_end;
};

}  // namespace brimful::schedule
