#include "program_run.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

namespace strata::tests {
namespace {

/// Between fork and exec: system calls only.
[[noreturn]] void become_strata(char* const* argv, const char* entrance, int out, int err) {
  if (entrance != nullptr) {
    const int fd = ::open(entrance, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, "0", 1) != 1) ::_exit(126);
  }
  // Root without these is refused like everybody else; no effect for other users.
  ::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
  ::prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  ::execv(STRATA_PROGRAM, argv);
  ::_exit(127);
}

/// `strata ARGUMENTS` as exec wants it.
class CommandLine {
 public:
  explicit CommandLine(const std::vector<std::string>& arguments) : words_{"strata"} {
    words_.insert(words_.end(), arguments.begin(), arguments.end());
    for (std::string& word : words_) argv_.push_back(word.data());
    argv_.push_back(nullptr);
  }
  [[nodiscard]] char* const* argv() const { return argv_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> argv_;
};

void wait_for(pid_t pid, std::chrono::steady_clock::time_point begin, ProgramRun& run) {
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid) return;
  run.took = std::chrono::steady_clock::now() - begin;
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

ProgramRun run_program(const std::vector<std::string>& arguments, const MemoryCgroup* cgroup,
                       std::chrono::milliseconds limit, std::size_t interrupt_at) {
  const CommandLine command(arguments);
  const std::string entrance = cgroup != nullptr ? cgroup->entrance().string() : std::string();

  ProgramRun run;
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) return run;
  const auto begin = std::chrono::steady_clock::now();
  const pid_t pid = ::fork();
  if (pid == 0) become_strata(command.argv(), cgroup != nullptr ? entrance.c_str() : nullptr, out[1], err[1]);
  ::close(out[1]);
  ::close(err[1]);

  std::array<pollfd, 2> ends{{{out[0], POLLIN, 0}, {err[0], POLLIN, 0}}};
  std::array<std::string*, 2> texts{&run.out, &run.err};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    if (!run.timed_out && std::chrono::steady_clock::now() - begin > limit) {
      run.timed_out = true;
      ::kill(pid, SIGKILL);
    }
    if (interrupt_at > 0 && run.out.size() >= interrupt_at) {
      ::kill(pid, SIGINT);
      interrupt_at = 0;
    }
    ::poll(ends.data(), ends.size(), 50);
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if (ends[i].fd < 0 || ends[i].revents == 0) continue;
      std::array<char, 4096> block{};
      const ssize_t got = ::read(ends[i].fd, block.data(), block.size());
      if (got > 0) {
        texts[i]->append(block.data(), static_cast<std::size_t>(got));
      } else {
        ::close(std::exchange(ends[i].fd, -1));
      }
    }
  }
  wait_for(pid, begin, run);
  return run;
}

constexpr const char* kCtrlD = "\x04";

}  // namespace

ProgramRun run_strata(const std::vector<std::string>& arguments, const MemoryCgroup* cgroup,
                      std::chrono::milliseconds limit) {
  return run_program(arguments, cgroup, limit, 0);
}

ProgramRun run_strata_and_interrupt(const std::vector<std::string>& arguments, std::size_t bytes) {
  return run_program(arguments, nullptr, std::chrono::seconds(60), bytes);
}

ProgramRun run_strata_on_terminal(const std::vector<std::string>& arguments,
                                  const std::vector<std::string>& input,
                                  const std::function<void(std::size_t)>& before_line) {
  const CommandLine command(arguments);
  ProgramRun run;
  const auto begin = std::chrono::steady_clock::now();
  int terminal = -1;
  const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (pid == 0) {
    ::execv(STRATA_PROGRAM, command.argv());
    ::_exit(127);
  }
  std::size_t typed = 0;
  std::size_t seen = 0;  // prompts before this were answered
  for (;;) {
    if (!run.timed_out && std::chrono::steady_clock::now() - begin > std::chrono::seconds(60)) {
      run.timed_out = true;
      ::kill(pid, SIGKILL);
    }
    pollfd end{terminal, POLLIN, 0};
    if (::poll(&end, 1, 50) <= 0) continue;
    std::array<char, 4096> block{};
    const ssize_t got = ::read(terminal, block.data(), block.size());
    if (got <= 0) break;  // EIO: the program has closed its side
    run.out.append(block.data(), static_cast<std::size_t>(got));
    const std::size_t prompt = run.out.find("\n> ", seen);
    if (prompt == std::string::npos) continue;
    seen = prompt + 3;
    if (before_line) before_line(typed);
    if (typed == input.size() && typed > 0 && input.back().ends_with(kCtrlD)) continue;
    std::string line = typed < input.size() ? input[typed++] : kCtrlD;
    if (!line.ends_with(kCtrlD)) line += '\n';
    if (::write(terminal, line.data(), line.size()) < 0) break;
  }
  ::close(terminal);
  wait_for(pid, begin, run);
  return run;
}

void expect_refused(const ProgramRun& run, const std::string& text) {
  EXPECT_FALSE(run.timed_out) << "hangs";
  EXPECT_GT(run.exit_code, 0) << "ended by signal " << -run.exit_code;
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(run.err.starts_with("strata: ")) << run.err;
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  EXPECT_TRUE(run.err.ends_with('\n')) << run.err;
  EXPECT_NE(run.err.find(text), std::string::npos) << "no '" << text << "' in: " << run.err;
}

}  // namespace strata::tests
