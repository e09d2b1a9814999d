#pragma once

#include <llama-grammar.h>

namespace brimful::constraint {

/// Rewrites rules with many alternatives so that alternatives that begin alike share their beginning: `"ab" |
/// "ac"` becomes `"a" ("b" | "c")`. The language stays the same. llama.cpp follows each alternative by
/// itself, and compares each with each other for every character: an enumeration of 5000 strings takes it a
/// second a token otherwise. Rules keep their numbers; new ones follow behind. Cost: sorts the alternatives.
void factor_rules(llama_grammar_rules& rules);

}  // namespace brimful::constraint
