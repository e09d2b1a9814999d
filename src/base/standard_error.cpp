#include "base/standard_error.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace brimful {

void tell_text(std::string_view text) noexcept {
  // fmt::print would throw, and end the program.
  if (std::fwrite(text.data(), 1, text.size(), stderr) < text.size()) std::clearerr(stderr);
}

void hold_standard_streams() noexcept {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) != -1) continue;
    // It gets the lowest number that is free, which is this one. Whoever reads input or writes output fails.
    const int held = ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    if (held == -1) return;
  }
}

}  // namespace brimful
