#pragma once

#include <sampling.h>

#include <memory>
#include <optional>
#include <vector>

#include "constraint/grammar_state.h"
#include "engine/engine.h"
#include "foreign/time_allowance.h"

namespace brimful::engine {

/// Chooses the tokens of one answer: llama-common's chain of samplers, a grammar, and a budget of thoughts.
/// The same tokens as llama-common's common_sampler chooses, which holds a list of all candidates for each
/// answer and looks at the whole vocabulary where a grammar is used. A grammar runs inside a fence.
/// Threading: one thread.
class Sampler {
 public:
  /// `engine` outlives it.
  Sampler(const Engine& engine, const common_params_sampling& params);

  /// What its grammar holds. Zero where there is none.
  [[nodiscard]] Bytes grammar_memory() const;
  /// Begins a new answer: nothing is accepted, the grammar is at its beginning. Errors: as make_sampler().
  [[nodiscard]] Status reset();
  /// Tokens of the prompt, for penalties of repetition.
  void accept_prompt(llama_token token);
  /// Other answers wait while this one's grammar works: its tokens have to keep to a TimeAllowance.
  void share_time() { allowance_.emplace(); }
  /// The next token, from output `output` of the last pass. Errors: kInvalidArgument for a grammar that takes
  /// too much time or memory, or that no token of the vocabulary goes on with.
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
  common_sampler_ptr chain_;  // without a grammar
  std::unique_ptr<llama_sampler, Free> thinking_budget_;
  std::unique_ptr<constraint::GrammarState> grammar_;
  std::optional<foreign::TimeAllowance> allowance_;
  std::int64_t grammar_bytes_ = 0;  // that it holds
};

using SamplerPtr = std::unique_ptr<Sampler>;

/// Errors: kInvalidArgument where llama-common refuses the parameters, or the grammar cannot be used.
[[nodiscard]] Result<SamplerPtr> make_sampler(const Engine& engine, common_params_sampling& params);

/// Whether an answer under this grammar can begin: makes the grammar and looks at the vocabulary once, inside
/// a fence. For threads that are not the executor's, so that a grammar that takes too long holds up nobody
/// else. Errors: kInvalidArgument. Nothing where there is no grammar. Threading: any.
[[nodiscard]] Status try_grammar(const Engine& engine, const common_params_sampling& params);

}  // namespace brimful::engine
