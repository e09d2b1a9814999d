#include "program_run.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "command_line.h"
#include "running_program.h"

namespace brimful::tests {
namespace {

ProgramRun outcome_of(RunningProgram& program, std::chrono::steady_clock::time_point begin) {
  ProgramRun run;
  run.exit_code = program.wait();
  run.took = std::chrono::steady_clock::now() - begin;
  run.timed_out = program.timed_out();
  run.processor_time = program.processor_time();
  run.peak = program.peak();
  run.out = program.written();
  run.err = program.said();
  return run;
}

constexpr const char* kCtrlD = "\x04";

}  // namespace

ProgramRun run_brimful(const std::vector<std::string>& arguments, const MemoryCgroup* cgroup,
                       std::chrono::milliseconds limit) {
  const auto begin = std::chrono::steady_clock::now();
  RunningProgram program(arguments, cgroup);
  program.wait(limit);
  return outcome_of(program, begin);
}

ProgramRun run_brimful_and_interrupt(const std::vector<std::string>& arguments, std::size_t bytes) {
  const auto begin = std::chrono::steady_clock::now();
  RunningProgram program(arguments);
  while (!program.has_ended() && program.written().size() < bytes)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  program.signal(SIGINT);
  return outcome_of(program, begin);
}

ProgramRun run_brimful_on_terminal(const std::vector<std::string>& arguments,
                                   const std::vector<std::string>& input,
                                   const std::function<void(std::size_t)>& before_line) {
  const CommandLine command(arguments);
  ProgramRun run;
  const auto begin = std::chrono::steady_clock::now();
  int terminal = -1;
  const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (pid == 0) {
    ::execv(BRIMFUL_PROGRAM, command.argv());
    ::_exit(127);
  }
  std::size_t typed = 0;
  std::size_t seen = 0;  // The position up to which prompts were answered.
  for (;;) {
    if (!run.timed_out && std::chrono::steady_clock::now() - begin > kPatience) {
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
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid) return run;
  run.took = std::chrono::steady_clock::now() - begin;
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return run;
}

void expect_refused(const ProgramRun& run, const std::string& text) {
  EXPECT_FALSE(run.timed_out) << "hangs";
  EXPECT_GT(run.exit_code, 0) << "ended by signal " << -run.exit_code;
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(run.err.starts_with("brimful: ")) << run.err;
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  EXPECT_TRUE(run.err.ends_with('\n')) << run.err;
  EXPECT_NE(run.err.find(text), std::string::npos) << "no '" << text << "' in: " << run.err;
}

}  // namespace brimful::tests
