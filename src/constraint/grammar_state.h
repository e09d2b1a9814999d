#pragma once

#include <common.h>
#include <llama.h>

#include <memory>
#include <vector>

#include "constraint/first_characters.h"

struct llama_grammar;

namespace brimful::constraint {

/// The state of one answer in its grammar. It wraps llama.cpp's grammar and allows the same tokens, but it
/// checks the vocabulary by first characters, and the remaining tokens in small parts. So neither time nor
/// memory grows with the vocabulary. The caller runs all functions inside a Fence. Threading: one thread at a
/// time.
class GrammarState {
 public:
  /// Starts at the beginning of the grammar, behind the generation prompt if the grammar includes it.
  /// Requires: the grammar has passed check_grammar(). Throws what llama.cpp throws, for a trigger that is no
  /// regular expression, and for a generation prompt that the grammar does not allow. `vocab` and `first`
  /// outlive the state.
  GrammarState(const llama_vocab* vocab, const FirstCharacters& first, const common_params_sampling& params);
  ~GrammarState();
  GrammarState(const GrammarState&) = delete;
  GrammarState& operator=(const GrammarState&) = delete;

  /// Whether the token may come next.
  [[nodiscard]] bool allows(llama_token token) const;
  /// Sets the logit of each candidate that may not come next to minus infinity. Returns whether a candidate
  /// is left.
  bool filter(std::vector<llama_token_data>& candidates) const;
  /// Moves on by one token. Requires: allows(token). Throws when the text may not end here and `token` ends
  /// it, or when llama.cpp finds that nothing can follow.
  void accept(llama_token token);

 private:
  struct Deleter {
    void operator()(llama_grammar* grammar) const;
  };

  [[nodiscard]] std::vector<bool> allowed_groups() const;

  const llama_vocab* const vocab_;
  const FirstCharacters& first_;
  std::unique_ptr<llama_grammar, Deleter> grammar_;
};

/// The tokens of the generation prompt, as llama.cpp's grammars and reasoning budgets read them.
[[nodiscard]] std::vector<llama_token> prefilled_tokens(const llama_vocab* vocab,
                                                        const common_params_sampling& params);

}  // namespace brimful::constraint
