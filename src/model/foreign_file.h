#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace brimful::model {

/// What a file is that people take for a GGUF model by mistake, and what to do: `this is a git-lfs pointer,
/// ..`. `beginning` is the file's first bytes; 512 are enough. Empty if the file is of no such kind.
[[nodiscard]] std::string_view foreign_file(std::span<const std::byte> beginning);

}  // namespace brimful::model
