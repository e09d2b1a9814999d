#pragma once

#include <sampling.h>

#include <memory>
#include <optional>
#include <vector>

#include "constraint/grammar_state.h"
#include "engine/engine.h"
#include "foreign/time_allowance.h"

namespace brimful::engine {

/// Chooses the tokens of one answer, with llama-common's chain of samplers, a grammar, and a reasoning
/// budget. It chooses the same tokens as llama-common's common_sampler. But common_sampler holds a list of
/// all candidates for each answer, and checks the whole vocabulary when there is a grammar. The grammar runs
/// inside a fence. Not thread-safe.
class Sampler {
 public:
  /// `engine` outlives the sampler. Throws std::runtime_error when llama.cpp refuses the parameters; use
  /// make_sampler().
  Sampler(const Engine& engine, const common_params_sampling& params);

  /// The bytes that the grammar of this answer holds; zero when there is none.
  [[nodiscard]] Bytes grammar_memory() const;
  /// Begins a new answer: forgets all accepted tokens, and puts the grammar back to its beginning. Errors: as
  /// make_sampler().
  [[nodiscard]] Status reset();
  /// Adds a token of the prompt, for the repetition penalties.
  void accept_prompt(llama_token token);
  /// Limits the time of this answer's grammar by a TimeAllowance, because other answers wait while the
  /// grammar works.
  void share_time() { allowance_.emplace(); }
  /// Chooses the next token from output `output` of the last pass. Errors: kInvalidArgument when the grammar
  /// takes too much time or memory, or allows no token of the vocabulary; kUnsupported when llama.cpp can
  /// choose no token.
  [[nodiscard]] Result<llama_token> sample(std::int32_t output);

 private:
  friend Result<std::unique_ptr<Sampler>> make_sampler(const Engine& engine, common_params_sampling& params);
  friend Status try_grammar(const Engine& engine, const common_params_sampling& params);

  struct Free {
    void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
  };

  void make_thinking_budget();
  void load_logits(std::int32_t output);
  [[nodiscard]] llama_token choose();
  [[nodiscard]] bool grammar_applies() const;
  [[nodiscard]] llama_token choose_allowed(std::int32_t output);
  void accept(llama_token token);
  [[nodiscard]] Status check_size() const;

  const Engine& engine_;
  common_params_sampling params_;
  common_sampler_ptr chain_;  // without the grammar and the reasoning budget
  std::unique_ptr<llama_sampler, Free> thinking_budget_;
  std::unique_ptr<constraint::GrammarState> grammar_;
  std::optional<foreign::TimeAllowance> allowance_;
  std::int64_t grammar_bytes_ = 0;  // bytes that the grammar holds
};

using SamplerPtr = std::unique_ptr<Sampler>;

/// Makes a sampler. With `ignore_eos` and no grammar, it adds biases against the end-of-text tokens to
/// `params`. Errors: kInvalidArgument when llama-common refuses the parameters, or the grammar cannot be
/// used.
[[nodiscard]] Result<SamplerPtr> make_sampler(const Engine& engine, common_params_sampling& params);

/// Checks whether an answer under this grammar can begin: makes the grammar and checks the vocabulary once,
/// inside a fence. Other threads than the scheduler's call it, so that a grammar that takes too long keeps
/// nobody else waiting. Succeeds when there is no grammar. Errors: kInvalidArgument. Blocks: see
/// foreign::ForeignReading. Thread-safe.
[[nodiscard]] Status try_grammar(const Engine& engine, const common_params_sampling& params);

}  // namespace brimful::engine
