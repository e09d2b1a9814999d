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

/// `brimful ARGUMENTS` in a process of its own, for tests that act on the program while it runs. A test
/// waits for a text that the program writes, never for a time. The standard input is empty. Permissions of
/// files hold for the program even when the test runs as root. The destructor kills it.
/// Threading: one thread calls the functions; said() and written() may be called from any thread.
class RunningProgram {
 public:
  /// How long a test waits for anything before it gives up. It is long, because machines may be slow.
  static constexpr std::chrono::seconds kPatience = tests::kPatience;

  /// With a cgroup, every byte is charged there from the first instruction on.
  explicit RunningProgram(const std::vector<std::string>& arguments, const MemoryCgroup* cgroup = nullptr);
  ~RunningProgram();
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Everything that the program has written to standard error so far.
  [[nodiscard]] std::string said() const;
  /// Everything that the program has written to standard output so far.
  [[nodiscard]] std::string written() const;
  /// Waits until the program has written `text` to standard error. Returns false when it ends before, or
  /// after kPatience.
  [[nodiscard]] bool says(const std::string& text) const;
  /// Whether the program has closed its standard error, which happens when it ends.
  [[nodiscard]] bool has_ended() const;

  void signal(int number) const;
  /// Waits until the program ends, and kills it after `limit`. Returns the exit code, or minus the number of
  /// the signal that ended the program.
  int wait(std::chrono::milliseconds limit = kPatience);
  // These are known once wait() has returned: the processor time of all threads of the program, and the most
  // resident memory that the program, or this process when it started the program, had.
  [[nodiscard]] std::chrono::duration<double> processor_time() const { return processor_time_; }
  [[nodiscard]] Bytes peak() const { return peak_; }
  /// Whether wait() had to kill the program.
  [[nodiscard]] bool timed_out() const { return timed_out_; }
  /// Kills the program with SIGKILL, and waits for its end.
  void kill();

 private:
  void read_from(int fd, std::string& into);

  pid_t pid_ = -1;
  mutable std::mutex mutex_;
  std::string said_;
  std::string written_;
  int open_ends_ = 2;  // The number of output streams that the program has not closed.
  std::thread said_reader_;
  std::thread written_reader_;
  std::optional<int> status_;
  std::chrono::duration<double> processor_time_{0};
  Bytes peak_;
  bool timed_out_ = false;
};

}  // namespace brimful::tests
