#pragma once

#include <string>
#include <string_view>

namespace brimful::foreign {

/// What llama.cpp says about a chat template, a schema or a grammar, for people: the reason alone, in one
/// line of at most 300 bytes that steers no terminal, without llama.cpp's headlines and drawings of the
/// place.
[[nodiscard]] std::string library_reason(std::string_view what);

}  // namespace brimful::foreign
