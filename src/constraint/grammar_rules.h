#pragma once

#include <llama-grammar.h>
#include <llama.h>

#include <string>
#include <string_view>

#include "base/result.h"
#include "foreign/fence.h"

namespace brimful::constraint {

/// The index of the `close` that ends what opens at index `at` of a GBNF text, or the size of the text. A
/// backslash takes the meaning of the character behind it.
[[nodiscard]] std::size_t end_of_quoted(std::string_view text, std::size_t at, char close);

/// The index of the line's end behind the comment that begins at index `at`, or the size of the text.
[[nodiscard]] std::size_t end_of_comment(std::string_view text, std::size_t at);

/// Checks of a GBNF text that need no vocabulary: nesting, and repetitions whose bounds contradict each
/// other. Cost: one walk over the text. Errors: kInvalidArgument, without a prefix.
[[nodiscard]] Status check_grammar_text(std::string_view text);

/// Whether a regular expression has a partner for each parenthesis and bracket, and each of its repetitions
/// `{m,n}` has m at most n. Errors: as above.
[[nodiscard]] Status check_pattern(std::string_view pattern);

/// Reads a GBNF text with llama.cpp's own parser, inside a fence, and checks what llama.cpp does not survive
/// or does not bound: rules that are missing, left recursion, and the cost of looking for it. What passes can
/// be given to llama.cpp, which prints nothing about it. Errors: kInvalidArgument, without a prefix.
[[nodiscard]] Status check_grammar(const std::string& text, const llama_vocab* vocab,
                                   const foreign::FenceLimits& limits);

/// Reads a GBNF text with llama.cpp's parser, which prints nothing this way. Throws what the parser throws.
[[nodiscard]] llama_grammar_parser parse_grammar(const std::string& text, const llama_vocab* vocab);

}  // namespace brimful::constraint
