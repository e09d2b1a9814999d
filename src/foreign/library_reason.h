#pragma once

#include <string>
#include <string_view>

namespace brimful::foreign {

/// Turns llama.cpp's message about a chat template, a schema or a grammar into text for people. The result
/// has one line of at most 300 bytes without control characters. llama.cpp's headlines and its drawings of
/// the place are left out.
[[nodiscard]] std::string library_reason(std::string_view what);

}  // namespace brimful::foreign
