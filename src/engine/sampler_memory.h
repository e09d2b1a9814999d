#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "foreign/foreign_limits.h"

namespace brimful::engine {

/// What is sampled, as far as it decides how much memory that takes.
struct SamplerWork {
  std::size_t vocabulary = 0;     ///< tokens of the model
  std::uint32_t at_once = 1;      ///< answers that are written at the same time
  bool sorts_all = true;          ///< a chain may sort the whole vocabulary: no top_k, or a large one
  bool log_probabilities = true;  ///< answers may ask for the likeliest tokens
  bool grammars = true;           ///< answers may follow a grammar or a schema
  bool templates = true;  ///< chat templates are applied, schemas and grammars are read, answers are parsed
};

/// The one estimate of what samplers, grammars, schemas, templates and log probabilities take, beside what
/// was allocated when the budget was planned: run, serve and batch reserve it. An upper bound: the foreign
/// part ends where its fences end it, and the rest is one list of candidates, however many answers are
/// written.
[[nodiscard]] Bytes sampler_memory(const SamplerWork& work, const foreign::ForeignLimits& limits);

}  // namespace brimful::engine
