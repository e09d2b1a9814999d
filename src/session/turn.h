#pragma once

#include <llama.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/stop_reason.h"

namespace brimful::session {

/// What one turn of a conversation has written, and what it took.
struct Turn {
  std::string text;
  /// The generated tokens, including the end-of-text token.
  std::vector<llama_token> token_ids;
  /// Number of prompt tokens that were computed, because the KV cache did not hold them.
  std::uint64_t prompt_computed = 0;
  std::chrono::duration<double> prompt_time{0};
  /// Time of the passes that decoded, without the time to make drafts.
  std::chrono::duration<double> decode_time{0};
  /// Number of generated tokens that were sampled after the first decode pass.
  std::uint64_t decode_tokens = 0;
  /// The duration of each decode pass.
  std::vector<double> decode_seconds;
  /// Bytes read from disk while decoding.
  Bytes decode_read;
  tier::ExpertStatistics decode_experts;
  /// Number of tokens that were computed as drafts.
  std::uint64_t drafted = 0;
  /// Number of drafted tokens that were right.
  std::uint64_t accepted = 0;
  std::chrono::duration<double> draft_time{0};
  engine::StopReason reason = engine::StopReason::kLimit;
};

/// How far a turn has come. All numbers are tokens.
struct TurnProgress {
  /// Length of the prompt.
  std::uint64_t prompt = 0;
  /// Number of prompt tokens that were found in the KV cache.
  std::uint64_t prompt_cached = 0;
  /// Number of prompt tokens that were computed so far.
  std::uint64_t prompt_computed = 0;
  /// Number of tokens that were generated so far.
  std::uint64_t written = 0;
};

}  // namespace brimful::session
