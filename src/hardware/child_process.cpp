#include "hardware/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <string_view>
#include <thread>

namespace brimful::hardware {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostText = 1 << 20;
constexpr std::string_view kEnd("\0whole", 6);  // This mark follows a text that was written completely.

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

[[noreturn]] void be_child(const std::function<std::string()>& function, int out, ChildStreams streams) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  // A crash must end this process, whatever signal handlers the program has.
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTERM, SIGINT})
    ::signal(signal, SIG_DFL);
  if (streams == ChildStreams::kNowhere) {
    const int null = ::open("/dev/null", O_RDWR);
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, stream);
  }
  try {
    std::string text = function();
    text += kEnd;
    ::_exit(text.size() <= kMostText && write_all(out, text) ? 0 : 1);
  } catch (...) {
    ::_exit(1);
  }
}

/// Reads until the other end closes. Returns false when `deadline` comes first.
bool read_until_closed(int fd, Clock::time_point deadline, std::string& text) {
  std::array<char, 4096> buffer;
  while (text.size() <= kMostText) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd waited{fd, POLLIN, 0};
    const int ready = left > 0 ? ::poll(&waited, 1, static_cast<int>(std::min<long long>(left, 1 << 30))) : 0;
    if (ready == 0 && Clock::now() >= deadline) return false;
    if (ready == 0) continue;
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return true;
    const ssize_t read = ::read(fd, buffer.data(), buffer.size());
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) return true;
    text.append(buffer.data(), static_cast<std::size_t>(read));
  }
  return true;
}

/// Waits for the child and returns its status. Nullopt when it does not end in time: even a killed process
/// may stay inside the kernel.
std::optional<int> wait_for(pid_t child, Clock::time_point deadline) {
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return status;
    if (ended < 0 && errno != EINTR) return std::nullopt;
    if (Clock::now() >= deadline) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

ChildEnd run_in_child(const std::function<std::string()>& function, std::chrono::milliseconds limit,
                      ChildStreams streams) {
  constexpr std::chrono::milliseconds kPatience{500};
  ChildEnd end;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    end.error = errno;
    return end;
  }
  const pid_t child = ::fork();
  if (child < 0) end.error = errno;
  if (child == 0) be_child(function, ends[1], streams);
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    return end;
  }
  const auto deadline = Clock::now() + limit;
  const bool closed = read_until_closed(ends[0], deadline, end.text);
  ::close(ends[0]);
  auto status = closed ? wait_for(child, deadline) : std::nullopt;
  const bool whole = closed && end.text.ends_with(kEnd);
  if (!status) {
    ::kill(child, SIGKILL);
    status = wait_for(child, Clock::now() + kPatience);
    if (!whole) {
      end.how = ChildEnd::How::kTimedOut;
      end.text.clear();
      return end;
    }
  }
  if (whole) {
    end.how = ChildEnd::How::kReturned;
    end.text.resize(end.text.size() - kEnd.size());
    return end;
  }
  end.text.clear();
  end.how = ChildEnd::How::kExited;
  if (status && WIFSIGNALED(*status)) {
    end.how = ChildEnd::How::kKilled;
    end.signal = WTERMSIG(*status);
  }
  return end;
}

}  // namespace brimful::hardware
