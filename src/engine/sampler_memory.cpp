#include "engine/sampler_memory.h"

#include <llama.h>

namespace brimful::engine {
namespace {

constexpr std::uint64_t kCandidate = sizeof(llama_token_data);
constexpr std::uint64_t kOrder =
    sizeof(llama_token);  // for each token of a list that is sorted for log probabilities
constexpr std::uint64_t kGroup = sizeof(std::uint16_t);  // for the first character of each token
// Bytes for each answer: a chain, its parameters, and the generated tokens. Measured: 9 to 20 KiB.
constexpr Bytes kAnswer = kKiB * 32;
constexpr std::uint64_t kLostInHeap = 8;  // an eighth is lost between the blocks

// With top_k above this number, a chain sorts its whole vocabulary.
constexpr std::int32_t kMostPartlySorted = 128;

}  // namespace

SamplerWork sampler_work(std::size_t vocabulary, const common_params_sampling& params) {
  return {.vocabulary = vocabulary,
          .sorts_all = params.temp > 0 && (params.top_k <= 0 || params.top_k > kMostPartlySorted),
          .log_probabilities = false,
          .grammars = !params.grammar.empty(),
          .templates = false};
}

Bytes sampler_memory(const SamplerWork& work, const foreign::ForeignLimits& limits) {
  std::uint64_t for_token = kCandidate;
  if (work.sorts_all) for_token += 2 * kCandidate;
  if (work.log_probabilities) for_token += kOrder;
  if (work.grammars) for_token += kGroup;
  Bytes out = Bytes{for_token * work.vocabulary} + kAnswer * work.at_once;
  Bytes for_foreign;
  if (work.templates) for_foreign += limits.reading.bytes;
  // The first part is for the work on one token, the second one for the memory that the grammars of all
  // answers keep.
  if (work.grammars) for_foreign += limits.sampling.bytes * 2;
  if (for_foreign > Bytes{})
    out += for_foreign + Bytes{for_foreign.value / kLostInHeap} + foreign::ForeignLimits::kStack;
  return out;
}

}  // namespace brimful::engine
