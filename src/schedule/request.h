#pragma once

#include <sampling.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/generator.h"

namespace brimful::schedule {

/// Who goes first. Among equals: who came first.
enum class Priority { kInteractive, kBatch };

/// What is to be written, or to become a vector.
struct Request {
  std::vector<llama_token> prompt;  ///< at least one token
  bool embed = false;               ///< nothing is written: of the fields below only the priority counts
  common_params_sampling sampling;
  int limit = -1;  ///< tokens; negative: until the model ends or the context is full
  std::vector<std::string> stop_strings;
  bool show_special = false;  ///< special tokens become text
  int top_logprobs =
      -1;  ///< the likeliest tokens at each place, beside the one written; negative: none of it
  Priority priority = Priority::kBatch;
  /// Whoever sends this request twice expects the same tokens, as sampling does not change them: while it
  /// runs alone, it gets the tokens that it gets in an empty context. See docs/design-same-tokens.md.
  bool repeatable = false;
};

/// The natural logarithm of a token's probability, by the model alone: before temperature and the like.
struct Logprob {
  llama_token token = 0;
  double logprob = 0;
};
struct WrittenLogprobs {
  Logprob written;
  std::vector<Logprob> top;  ///< likeliest first
};

/// Of an answer, while it is written.
struct Piece {
  std::string text;                       ///< as the tokens have it: a character may be cut
  std::vector<WrittenLogprobs> logprobs;  ///< of what was written since the last piece, where asked for
};

/// What became of it.
struct Answer {
  std::string text;                         ///< kept where an ApiRequest is answered: see submit()
  std::vector<llama_token> token_ids;       ///< written, the end-of-text token included
  std::vector<WrittenLogprobs> logprobs;    ///< of each, where they were asked for
  std::vector<std::vector<float>> vectors;  ///< the one that was asked for; as the model has it
  std::size_t prompt_shared = 0;            ///< tokens of the prompt that others had computed
  std::uint32_t preempted = 0;              ///< how often it was put aside
  engine::StopReason reason = engine::StopReason::kLimit;
};

/// Who wants to know. Called between passes, on the scheduler's thread; it may not call the scheduler.
struct Callbacks {
  /// With text, each. False: nobody wants more.
  std::function<bool(Piece piece)> on_piece;
  /// Once, at the end. Errors: those of the sampler.
  std::function<void(Result<Answer> answer)> on_end;
};

}  // namespace brimful::schedule
