#pragma once

#include <common.h>
#include <llama.h>

#include <memory>
#include <vector>

#include "constraint/first_characters.h"

struct llama_grammar;

namespace brimful::constraint {

/// How far an answer has come in its grammar. Wraps llama.cpp's grammar: the same tokens are allowed, but a
/// vocabulary is looked at by first characters, and then in small parts, so that neither time nor memory
/// grows with the vocabulary. Everything here runs inside a Fence of the caller. Threading: one thread at a
/// time.
class GrammarState {
 public:
  /// Requires: the grammar has passed check_grammar(). Throws what llama.cpp throws: a trigger that is no
  /// regular expression, and a generation prompt that the grammar does not allow. `vocab` and `first` outlive
  /// it.
  GrammarState(const llama_vocab* vocab, const FirstCharacters& first, const common_params_sampling& params);
  ~GrammarState();
  GrammarState(const GrammarState&) = delete;
  GrammarState& operator=(const GrammarState&) = delete;

  /// Whether the token may come next.
  [[nodiscard]] bool allows(llama_token token) const;
  /// Sets the logit of each candidate that may not come next to minus infinity. Returns whether one is left.
  bool filter(std::vector<llama_token_data>& candidates) const;
  /// Requires: allows(token). Throws where the grammar ends in a dead end.
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

/// The tokens of the generation prompt, as a grammar and a thinking budget of llama.cpp read them.
[[nodiscard]] std::vector<llama_token> prefilled_tokens(const llama_vocab* vocab,
                                                        const common_params_sampling& params);

}  // namespace brimful::constraint
