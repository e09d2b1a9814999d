#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace brimful::model {

/// Recognises files that people take for a GGUF model by mistake, such as archives and web pages. Returns
/// what the file is and what to do, as part of an error message: `this is a git-lfs pointer, ...`. The
/// result is empty for any other file. `beginning` holds the file's first bytes; 512 are enough.
/// Pure. Lifetime: the result points to a constant.
[[nodiscard]] std::string_view foreign_file(std::span<const std::byte> beginning);

}  // namespace brimful::model
