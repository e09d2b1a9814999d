#pragma once

#include <llama-grammar.h>
#include <llama.h>

#include <string>
#include <string_view>

#include "base/result.h"
#include "foreign/fence.h"

namespace brimful::constraint {

/// In a GBNF text, the index of the `close` that ends the quoted text or class which opens at index `at`; the
/// size of the text when there is none. A character behind a backslash does not count.
[[nodiscard]] std::size_t end_of_quoted(std::string_view text, std::size_t at, char close);

/// The index of the end of the line, for a comment that begins at index `at`; the size of the text when the
/// comment is in the last line.
[[nodiscard]] std::size_t end_of_comment(std::string_view text, std::size_t at);

/// Checks a GBNF text as far as that needs no vocabulary: the depth of its nesting, and repetitions with a
/// maximum below the minimum. Cost: one walk over the text. Errors: kInvalidArgument; the message has no
/// prefix.
[[nodiscard]] Status check_grammar_text(std::string_view text);

/// Checks that the parentheses and brackets of a regular expression are balanced, and that no repetition
/// `{m,n}` has m above n. Errors: as above.
[[nodiscard]] Status check_pattern(std::string_view pattern);

/// Reads a GBNF text with llama.cpp's own parser, inside a fence. It then checks what llama.cpp does not
/// survive or does not limit: missing rules, left recursion, and the cost of the search for left recursion. A
/// text that passes can be given to llama.cpp, which then prints nothing about it. Errors: kInvalidArgument;
/// the message has no prefix.
[[nodiscard]] Status check_grammar(const std::string& text, const llama_vocab* vocab,
                                   const foreign::FenceLimits& limits);

/// Reads a GBNF text with llama.cpp's parser, in a way that prints nothing. Throws what the parser throws.
[[nodiscard]] llama_grammar_parser parse_grammar(const std::string& text, const llama_vocab* vocab);

}  // namespace brimful::constraint
