#include "program_run.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  ::execv(STRATA_PROGRAM, argv);
  ::_exit(127);
}

}  // namespace

ProgramRun run_strata(const std::vector<std::string>& arguments, const MemoryCgroup* cgroup,
                      std::chrono::seconds limit) {
  std::vector<std::string> words{"strata"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string entrance = cgroup != nullptr ? cgroup->entrance().string() : std::string();

  ProgramRun run;
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) return run;
  const auto begin = std::chrono::steady_clock::now();
  const pid_t pid = ::fork();
  if (pid == 0) become_strata(argv.data(), cgroup != nullptr ? entrance.c_str() : nullptr, out[1], err[1]);
  ::close(out[1]);
  ::close(err[1]);

  std::array<pollfd, 2> ends{{{out[0], POLLIN, 0}, {err[0], POLLIN, 0}}};
  std::array<std::string*, 2> texts{&run.out, &run.err};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    if (!run.timed_out && std::chrono::steady_clock::now() - begin > limit) {
      run.timed_out = true;
      ::kill(pid, SIGKILL);
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
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid) return run;
  run.took = std::chrono::steady_clock::now() - begin;
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return run;
}

}  // namespace strata::tests
