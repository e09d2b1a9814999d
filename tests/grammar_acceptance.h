#pragma once

#include <llama-grammar.h>

#include <algorithm>
#include <string>
#include <vector>

#include "constraint/grammar_factoring.h"
#include "constraint/grammar_rules.h"

namespace brimful::tests {

/// Whether llama.cpp accepts the text as a complete answer under the grammar. With `factored`, the rules
/// first go through factor_rules().
inline bool accepts(const std::string& grammar, const std::string& text, bool factored = true) {
  llama_grammar_parser parser = constraint::parse_grammar(grammar, nullptr);
  if (factored) constraint::factor_rules(parser.rules);
  std::vector<const llama_grammar_element*> rules = parser.c_rules();
  llama_grammar* const state =
      llama_grammar_init_impl(nullptr, rules.data(), rules.size(), parser.symbol_ids.at("root"));
  for (const char c : text) llama_grammar_accept(state, static_cast<unsigned char>(c));
  const bool whole =
      std::ranges::any_of(llama_grammar_get_stacks(state), [](const auto& stack) { return stack.empty(); });
  llama_grammar_free_impl(state);
  return whole;
}

}  // namespace brimful::tests
