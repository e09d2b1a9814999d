#pragma once

#include <fmt/format.h>

#include <cstdio>

#include "base/result.h"
#include "base/standard_error.h"
#include "base/visible_text.h"

namespace brimful::cli {

/// The exit code of the program: 0 for success, 3 when something does not fit its budget (kInfeasible), 1
/// for any other error. Wrong flags give 2, which is set where flags are parsed.
[[nodiscard]] inline int exit_code_of(const Status& status) {
  if (status) return 0;
  return status.error().code == ErrorCode::kInfeasible ? 3 : 1;
}

/// Writes an error's message to stderr, if there is an error. Returns the exit code.
[[nodiscard]] inline int report(const Status& status) {
  if (!status) tell("brimful: {}\n", visible_lines(status.error().message));
  return exit_code_of(status);
}

}  // namespace brimful::cli
