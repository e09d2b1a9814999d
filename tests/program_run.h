#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "memory_cgroup.h"
#include "sanitized.h"

namespace brimful::tests {

/// A budget that is more than enough for the demo's model. Sanitizers need more memory.
inline constexpr const char* kAmpleRam = kSanitized ? "1GiB" : "256MiB";

/// How long a test waits for a program before it takes it for stuck. It is long, because machines may be
/// slow.
inline constexpr std::chrono::seconds kPatience{kThreadSanitized ? 1200 : 120};

/// The result of a run of the program.
struct ProgramRun {
  /// The exit code, or minus the number of the signal that ended the program.
  int exit_code = -1;
  bool timed_out = false;
  std::string out;
  std::string err;
  std::chrono::duration<double> took{0};
  /// The processor time of all its threads.
  std::chrono::duration<double> processor_time{0};
  /// The most resident memory that it had, as the kernel counts it.
  Bytes peak;
};

/// Runs `brimful ARGUMENTS` to its end, without a terminal and with an empty standard input. Permissions of
/// files hold for the program even when the test runs as root. It is killed after `limit`. With a cgroup,
/// every byte is charged there from the first instruction on.
[[nodiscard]] ProgramRun run_brimful(const std::vector<std::string>& arguments,
                                     const MemoryCgroup* cgroup = nullptr,
                                     std::chrono::milliseconds limit = kPatience);

/// Expects that the program refused its input in the right way: with an exit code, nothing on stdout, and
/// one line on stderr that contains `text`.
void expect_refused(const ProgramRun& run, const std::string& text);

/// Runs the program, and sends SIGINT (Ctrl-C) as soon as it has written `bytes` bytes to stdout.
[[nodiscard]] ProgramRun run_brimful_and_interrupt(const std::vector<std::string>& arguments,
                                                   std::size_t bytes);

/// Runs `brimful ARGUMENTS` on a terminal. Each line of `input` is typed when the program shows its prompt
/// (`> ` at the beginning of a line); after the last one, the input ends. The field `out` of the result
/// holds everything that the program wrote to stdout and stderr. `before_line` is called before each line
/// with the line's number, which counts from 0.
[[nodiscard]] ProgramRun run_brimful_on_terminal(const std::vector<std::string>& arguments,
                                                 const std::vector<std::string>& input,
                                                 const std::function<void(std::size_t)>& before_line = {});

}  // namespace brimful::tests
