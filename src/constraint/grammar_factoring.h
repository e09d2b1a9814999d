#pragma once

#include <llama-grammar.h>

namespace brimful::constraint {

/// Rewrites rules with many alternatives so that alternatives with a common beginning share it: `"ab" | "ac"`
/// becomes `"a" ("b" | "c")`. The language stays the same. Without this, llama.cpp follows each alternative
/// by itself and compares each one with all others for every character: an enumeration of 5000 strings takes
/// it one second for each token. Rules keep their numbers; new rules are appended. Cost: the alternatives are
/// sorted.
void factor_rules(llama_grammar_rules& rules);

}  // namespace brimful::constraint
