#include "base/standard_error.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace brimful {

void tell_text(std::string_view text) noexcept {
  // fmt::print throws when it cannot write, which would end the program.
  if (std::fwrite(text.data(), 1, text.size(), stderr) < text.size()) std::clearerr(stderr);
}

void hold_standard_streams() noexcept {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) != -1) continue;
    // open() returns the lowest free number, which is that of this stream. The access mode is the opposite of
    // what the stream is for, so every read from it or write to it fails.
    const int held = ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    if (held == -1) return;
  }
}

}  // namespace brimful
