#pragma once

#include <string_view>

#include "base/result.h"

namespace brimful {

/// Writes all of `text` to standard output without a buffer, so that a full disk or a closed output is
/// reported as an error here. The function first flushes what stdio still holds in its buffer. When the
/// reader of a pipe has closed its end, the rest of the text is dropped without an error.
/// Blocks: until the whole text is written.
/// Errors: kNoSpace, kIo; a part of the text may have been written.
/// Threading: only one thread may write to standard output.
[[nodiscard]] Status write_standard_output(std::string_view text);

}  // namespace brimful
