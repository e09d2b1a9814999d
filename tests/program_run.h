#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "memory_cgroup.h"
#include "sanitized.h"

namespace brimful::tests {

/// A budget that the demo's model is at home in; sanitizers take more.
inline constexpr const char* kAmpleRam = kSanitized ? "1GiB" : "256MiB";

/// How long tests wait for a program before they take it for stuck: many times what it needs on a busy
/// machine.
inline constexpr std::chrono::seconds kPatience{kThreadSanitized ? 1200 : 120};

/// How a run of the program ended.
struct ProgramRun {
  int exit_code = -1;  ///< of an exit; minus the signal's number where one ended it
  bool timed_out = false;
  std::string out;
  std::string err;
  std::chrono::duration<double> took{0};
  std::chrono::duration<double> processor_time{0};  ///< of all its threads
  Bytes peak;                                       ///< resident memory, as the kernel counts it
};

/// Runs `brimful ARGUMENTS` to its end, without a terminal and with nothing on standard input. It may read
/// and write what its user may, even if that is root. It is killed after `limit`. With a cgroup, every byte
/// is charged there from the first instruction on.
[[nodiscard]] ProgramRun run_brimful(const std::vector<std::string>& arguments,
                                     const MemoryCgroup* cgroup = nullptr,
                                     std::chrono::milliseconds limit = kPatience);

/// Ended as a program should that refuses its input: an exit code, nothing on stdout, and one line on stderr
/// that has `text` in it.
void expect_refused(const ProgramRun& run, const std::string& text);

/// Presses Ctrl-C (SIGINT) as soon as the program has written `bytes` to stdout.
[[nodiscard]] ProgramRun run_brimful_and_interrupt(const std::vector<std::string>& arguments,
                                                   std::size_t bytes);

/// Runs `brimful ARGUMENTS` on a terminal. Each line of `input` is typed when the program asks for it (`> `
/// at the begin of a line); after the last one, the input ends. What it wrote, to stdout and stderr, is
/// `out`. `before_line` is called before each of them, with its number from 0.
[[nodiscard]] ProgramRun run_brimful_on_terminal(const std::vector<std::string>& arguments,
                                                 const std::vector<std::string>& input,
                                                 const std::function<void(std::size_t)>& before_line = {});

}  // namespace brimful::tests
