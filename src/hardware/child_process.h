#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace brimful::hardware {

/// How a function ended that ran in a process of its own.
struct ChildEnd {
  enum class How {
    kReturned,    ///< The function returned `text`.
    kKilled,      ///< The signal `signal` ended the process.
    kExited,      ///< The process ended and the function had not returned.
    kTimedOut,    ///< The time limit passed, and run_in_child() killed the process.
    kNotStarted,  ///< The system could not create the process or the pipe to it.
  };
  How how = How::kNotStarted;
  /// The result of the function with kReturned.
  std::string text;
  /// The signal's number with kKilled; else 0.
  int signal = 0;
  /// The errno with kNotStarted; else 0.
  int error = 0;
};

/// Where the standard streams of a forked process lead.
enum class ChildStreams {
  kNowhere,  ///< To /dev/null.
  kShared,   ///< Where those of this process lead.
};

/// Calls `function` in a forked process, and returns its result, a text of at most 1 MiB. A crash or a hang
/// of the function thus does no harm to this process. Blocks: at most `limit` and half a second. Threading:
/// call it while this process has no other threads. The forked process has only the calling thread, and a
/// lock that another thread held stays locked there for ever.
[[nodiscard]] ChildEnd run_in_child(const std::function<std::string()>& function,
                                    std::chrono::milliseconds limit,
                                    ChildStreams streams = ChildStreams::kNowhere);

}  // namespace brimful::hardware
