#pragma once

#include <sampling.h>

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "foreign/foreign_limits.h"

namespace brimful::engine {

/// The properties of the sampled requests that decide how much memory sampling takes.
struct SamplerWork {
  /// Number of tokens in the model's vocabulary.
  std::size_t vocabulary = 0;
  /// Number of answers that are generated at the same time and whose samplers are not allocated yet.
  std::uint32_t at_once = 1;
  /// A chain may sort the whole vocabulary, because it has no top_k, or a large one.
  bool sorts_all = true;
  /// Answers may ask for the likeliest tokens.
  bool log_probabilities = true;
  /// Answers may follow a grammar or a schema.
  bool grammars = true;
  /// Chat templates are applied, schemas and grammars are read, and answers are parsed.
  bool templates = true;
};

/// The work of one answer that is sampled with `params`, beside a chat template. `vocabulary` is the number
/// of the model's tokens.
[[nodiscard]] SamplerWork sampler_work(std::size_t vocabulary, const common_params_sampling& params);

/// Upper bound of the bytes that samplers, grammars, schemas, templates and log probabilities take, in
/// addition to what was allocated when the budget was planned. It is the only such estimate: run, serve and
/// batch reserve it. It is a bound because fences end the foreign code, and because there is one list of
/// candidates, however many answers are generated.
[[nodiscard]] Bytes sampler_memory(const SamplerWork& work, const foreign::ForeignLimits& limits);

}  // namespace brimful::engine
