#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace brimful::constraint {

/// Rewrites a regular expression of a JSON schema's `pattern` in the few forms that llama.cpp's converter
/// understands: anchored at both ends, characters and classes only. The result matches JSON's written form of
/// texts that `pattern` matches, perhaps not of all of them: control characters other than those that \s and
/// \n name are left out. Nothing: the pattern has something that a grammar cannot follow here, such as a
/// lookahead, a back reference or a word boundary, or it is malformed.
[[nodiscard]] std::optional<std::string> pattern_for_grammar(std::string_view pattern);

}  // namespace brimful::constraint
