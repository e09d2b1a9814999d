#pragma once

#include <llama.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace brimful::engine {

/// Tokenizes a text of a client like tokenize(), one text at a time and within limits_of_text(). Errors:
/// kInvalidArgument for a text that takes more than these limits, and those of tokenize(). Blocks: see
/// foreign::ForeignReading. Thread-safe.
[[nodiscard]] Result<std::vector<llama_token>> tokenize_bounded(const Engine& engine, const std::string& text,
                                                                bool special, bool parse);

/// Tokenizes a text. `special`: with the tokens that the model wants around a text. `parse`: names of control
/// tokens in the text become these tokens. Errors: kUnsupported for a text that the vocabulary cannot
/// express.
[[nodiscard]] Result<std::vector<llama_token>> tokenize(const llama_vocab* vocab, const std::string& text,
                                                        bool special, bool parse);

}  // namespace brimful::engine
