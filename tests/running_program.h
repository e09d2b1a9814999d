#pragma once

#include <sys/types.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "memory_cgroup.h"
#include "program_run.h"
#include "sanitized.h"

namespace brimful::tests {

/// `brimful ARGUMENTS` in a process of its own, which a test watches and acts on while it runs: a test waits
/// for what the program says, never for a time. Its standard input is empty, and it may read and write what
/// its user may, even if that is root. The destructor kills it.
/// Threading: one thread uses it; said() and written() may be called from any.
class RunningProgram {
 public:
  /// How long a test waits for anything before it gives up: no speed of a machine is assumed.
  static constexpr std::chrono::seconds kPatience = tests::kPatience;

  /// With a cgroup, every byte is charged there from the first instruction on.
  explicit RunningProgram(const std::vector<std::string>& arguments, const MemoryCgroup* cgroup = nullptr);
  ~RunningProgram();
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// All that it has written to standard error so far.
  [[nodiscard]] std::string said() const;
  /// All that it has written to standard output so far.
  [[nodiscard]] std::string written() const;
  /// Waits until it has said `text`. False where it ends without, or never says it.
  [[nodiscard]] bool says(const std::string& text) const;
  /// Whether it has closed its standard error, as it does when it ends.
  [[nodiscard]] bool has_ended() const;

  void signal(int number) const;
  /// Waits for its end: the exit code, or minus the number of the signal that ended it. It is killed where it
  /// has not ended by itself after `limit`.
  int wait(std::chrono::milliseconds limit = kPatience);
  /// What it has used, once wait() has returned: the time of all its threads, and the most resident memory
  /// that it or this process at its start had.
  [[nodiscard]] std::chrono::duration<double> processor_time() const { return processor_time_; }
  [[nodiscard]] Bytes peak() const { return peak_; }
  /// Whether wait() had to kill it.
  [[nodiscard]] bool timed_out() const { return timed_out_; }
  /// kill -9, and wait().
  void kill();

 private:
  void read_from(int fd, std::string& into);

  pid_t pid_ = -1;
  mutable std::mutex mutex_;
  std::string said_;
  std::string written_;
  int open_ends_ = 2;  // of its output that have not been closed
  std::thread said_reader_;
  std::thread written_reader_;
  std::optional<int> status_;
  std::chrono::duration<double> processor_time_{0};
  Bytes peak_;
  bool timed_out_ = false;
};

}  // namespace brimful::tests
