#pragma once

#include <fmt/format.h>

#include <cstdio>

#include "base/result.h"
#include "base/standard_error.h"
#include "base/visible_text.h"

namespace brimful::cli {

/// 0 all well, 3 "it does not fit", 1 any other error. (2: wrong flags.)
[[nodiscard]] inline int exit_code_of(const Status& status) {
  if (status) return 0;
  return status.error().code == ErrorCode::kInfeasible ? 3 : 1;
}

/// Says in a line on stderr what went wrong, if anything did. Returns the exit code.
[[nodiscard]] inline int report(const Status& status) {
  if (!status) tell("brimful: {}\n", visible_lines(status.error().message));
  return exit_code_of(status);
}

}  // namespace brimful::cli
