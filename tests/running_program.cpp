#include "running_program.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "command_line.h"

namespace brimful::tests {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kBetweenLooks{5};

/// Runs between fork and exec, where only system calls are allowed.
[[noreturn]] void become_brimful(char* const* argv, const char* entrance, int out, int err) {
  if (entrance != nullptr) {
    const int fd = ::open(entrance, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, "0", 1) != 1) ::_exit(126);
  }
  // Without these capabilities, root is refused like everybody else. There is no effect for other users.
  ::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
  ::prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  ::execv(BRIMFUL_PROGRAM, argv);
  ::_exit(127);
}

}  // namespace

RunningProgram::RunningProgram(const std::vector<std::string>& arguments, const MemoryCgroup* cgroup) {
  const CommandLine command(arguments);
  const std::string entrance = cgroup != nullptr ? cgroup->entrance().string() : std::string();
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) return;
  pid_ = ::fork();
  if (pid_ == 0)
    become_brimful(command.argv(), cgroup != nullptr ? entrance.c_str() : nullptr, out[1], err[1]);
  ::close(out[1]);
  ::close(err[1]);
  written_reader_ = std::thread([this, fd = out[0]] { read_from(fd, written_); });
  said_reader_ = std::thread([this, fd = err[0]] { read_from(fd, said_); });
}

RunningProgram::~RunningProgram() {
  if (!status_) kill();
}

/// Reads to the end, so that the program never has to wait.
void RunningProgram::read_from(int fd, std::string& into) {
  std::array<char, 4096> block{};
  for (;;) {
    const ssize_t got = ::read(fd, block.data(), block.size());
    const std::lock_guard lock(mutex_);
    if (got <= 0) break;
    into.append(block.data(), static_cast<std::size_t>(got));
  }
  ::close(fd);
  const std::lock_guard lock(mutex_);
  --open_ends_;
}

std::string RunningProgram::said() const {
  const std::lock_guard lock(mutex_);
  return said_;
}

std::string RunningProgram::written() const {
  const std::lock_guard lock(mutex_);
  return written_;
}

bool RunningProgram::has_ended() const {
  const std::lock_guard lock(mutex_);
  return open_ends_ == 0;
}

bool RunningProgram::says(const std::string& text) const {
  for (const auto end = Clock::now() + kPatience; Clock::now() < end;) {
    // This is asked first: everything that the program wrote before its end is there then.
    const bool ended = has_ended();
    if (said().find(text) != std::string::npos) return true;
    if (ended) return false;
    std::this_thread::sleep_for(kBetweenLooks);
  }
  return false;
}

void RunningProgram::signal(int number) const { ::kill(pid_, number); }

int RunningProgram::wait(std::chrono::milliseconds limit) {
  if (status_) return *status_;
  const auto end = Clock::now() + limit;
  int status = 0;
  rusage used{};
  while (::wait4(pid_, &status, WNOHANG, &used) == 0) {
    if (!timed_out_ && Clock::now() > end) {
      timed_out_ = true;
      signal(SIGKILL);
    }
    std::this_thread::sleep_for(kBetweenLooks);
  }
  said_reader_.join();
  written_reader_.join();
  const auto time = [](const timeval& value) {
    return std::chrono::seconds(value.tv_sec) + std::chrono::microseconds(value.tv_usec);
  };
  processor_time_ = time(used.ru_utime) + time(used.ru_stime);
  peak_ = kKiB * static_cast<std::uint64_t>(used.ru_maxrss);
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return *status_;
}

void RunningProgram::kill() {
  signal(SIGKILL);
  wait();
}

}  // namespace brimful::tests
