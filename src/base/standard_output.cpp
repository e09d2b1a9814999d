#include "base/standard_output.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace brimful {
namespace {

Status failed(int error) {
  if (error == EPIPE) return {};
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return fail(full ? ErrorCode::kNoSpace : ErrorCode::kIo,
              fmt::format("the output cannot be written to stdout: {}", std::strerror(error)));
}

/// Waits until standard output accepts more bytes. The wait is needed when the output is in non-blocking
/// mode, in which a shell may leave a terminal.
void wait_until_writable() {
  pollfd output{STDOUT_FILENO, POLLOUT, 0};
  (void)::poll(&output, 1, -1);
}

}  // namespace

Status write_standard_output(std::string_view text) {
  if (std::fflush(stdout) != 0) return failed(errno);
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait_until_writable();
    } else if (errno != EINTR) {
      return failed(errno);
    }
  }
  return {};
}

}  // namespace brimful
