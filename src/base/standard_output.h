#pragma once

#include <string_view>

#include "base/result.h"

namespace brimful {

/// Writes all of `text` to standard output at once, so that a full disk or a closed output is an error and
/// not lost in stdio's buffer. What stdio still holds is written before it.
/// A reader that has closed its end of a pipe has what it wants: that is no error.
/// Blocks: until the text is taken. Errors: kNoSpace, kIo: a part of the text may have been written.
/// Threading: one thread writes to standard output.
[[nodiscard]] Status write_standard_output(std::string_view text);

}  // namespace brimful
