#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace brimful::cli {

/// Calls `work` in a forked process, and returns its result. The process has this one's standard streams, and
/// everything that it holds is gone when it ends. It is killed when this process ends.
/// Errors: those of `work`; kCancelled when a signal ended the process; kIo when it could not be started.
/// Threading: call it while this process has no other threads. Blocks: until `work` returns.
[[nodiscard]] Result<std::string> in_own_process(const std::function<Result<std::string>()>& work);

}  // namespace brimful::cli
