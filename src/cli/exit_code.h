#pragma once

#include "base/result.h"

namespace strata::cli {

/// 0 all well, 3 "it does not fit", 1 any other error. (2: wrong flags.)
[[nodiscard]] inline int exit_code_of(const Status& status) {
  if (status) return 0;
  return status.error().code == ErrorCode::kInfeasible ? 3 : 1;
}

}  // namespace strata::cli
