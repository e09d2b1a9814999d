#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace brimful::constraint {

/// Rewrites a regular expression of a JSON schema's `pattern` in the few forms that llama.cpp's converter
/// understands: anchored at both ends, with characters and classes only. The result matches texts in the form
/// that JSON writes them. It matches only texts that `pattern` matches, but perhaps not all of them: control
/// characters are left out, except those that \s and
/// name. Returns nothing when the pattern is malformed, or has something that a grammar cannot follow here,
/// such as a lookahead, a back reference or a word boundary.
[[nodiscard]] std::optional<std::string> pattern_for_grammar(std::string_view pattern);

}  // namespace brimful::constraint
