#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace brimful::hardware {

/// How a function that ran in a process of its own ended.
struct ChildEnd {
  enum class How {
    kReturned,    ///< `text` is what it returned
    kKilled,      ///< by signal `signal`
    kExited,      ///< without returning
    kTimedOut,    ///< stopped by us
    kNotStarted,  ///< the system gave no process or pipe
  };
  How how = How::kNotStarted;
  std::string text;
  int signal = 0;
};

/// Calls `function` in a forked process, without standard streams, and waits for its text (at most 1 MiB) no
/// longer than `limit`. Call it before this process has other threads: a fork takes along only the one that
/// calls, and locks that others hold stay locked.
[[nodiscard]] ChildEnd run_in_child(const std::function<std::string()>& function,
                                    std::chrono::milliseconds limit);

}  // namespace brimful::hardware
