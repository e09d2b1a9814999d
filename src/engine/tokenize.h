#pragma once

#include <llama.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace brimful::engine {

/// Tokens of a client's text, as tokenize() makes them: one text at a time, within limits_of_text(). Errors:
/// kInvalidArgument for a text that takes more, and those of tokenize(). Threading: any.
[[nodiscard]] Result<std::vector<llama_token>> tokenize_bounded(const Engine& engine, const std::string& text,
                                                                bool special, bool parse);

/// Tokens of a text. `special`: with the tokens that the model wants around a text; `parse`: names of control
/// tokens in it become these tokens. Errors: kUnsupported for a text that the vocabulary cannot express.
[[nodiscard]] Result<std::vector<llama_token>> tokenize(const llama_vocab* vocab, const std::string& text,
                                                        bool special, bool parse);

}  // namespace brimful::engine
