#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::cli {

/// Parses the value of --ram. A number without a unit is a number of bytes; below 1 MiB it is almost always a
/// unit that was forgotten, and the error says so.
/// Errors: kInvalidArgument when it is no size, or 0; kInfeasible when it has no unit and is below 1 MiB.
[[nodiscard]] Result<Bytes> parse_ram(const std::string& text);

}  // namespace brimful::cli
