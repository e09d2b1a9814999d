#include "cli/own_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <string_view>

namespace brimful::cli {
namespace {

constexpr char kSuccess = 'y';

void write_all(int to, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(to, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) ::_exit(1);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string read_all(int from) {
  std::string out;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t read = ::read(from, buffer.data(), buffer.size());
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(read));
  }
}

/// The result as a text: a letter for success, or one for the code of the error, and then the text.
std::string packed(const std::function<Result<std::string>()>& work) {
  try {
    const Result<std::string> result = work();
    if (result) return kSuccess + *result;
    return static_cast<char>('A' + static_cast<int>(result.error().code)) + result.error().message;
  } catch (const std::exception& error) {  // A library threw; the other process says it in one line.
    return static_cast<char>('A' + static_cast<int>(ErrorCode::kInternal)) +
           fmt::format("unexpected error: {}", error.what());
  }
}

}  // namespace

Result<std::string> in_own_process(const std::function<Result<std::string>()>& work) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    return fail(ErrorCode::kIo, fmt::format("no process can be started: {}", std::strerror(errno)));
  const pid_t child = ::fork();
  if (child < 0) {
    const int why = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    return fail(ErrorCode::kIo, fmt::format("no process can be started: {}", std::strerror(why)));
  }
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(ends[0]);
    write_all(ends[1], packed(work));
    ::_exit(0);
  }
  ::close(ends[1]);
  const std::string text = read_all(ends[0]);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || text.empty())
    return fail(ErrorCode::kCancelled, "the download was interrupted; what was fetched stays");
  if (text.front() == kSuccess) return text.substr(1);
  return fail(static_cast<ErrorCode>(text.front() - 'A'), text.substr(1));
}

}  // namespace brimful::cli
