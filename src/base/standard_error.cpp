#include "base/standard_error.h"

#include <cstdio>

namespace strata {

void tell_text(std::string_view text) noexcept {
  // fmt::print would throw, and end the program.
  if (std::fwrite(text.data(), 1, text.size(), stderr) < text.size()) std::clearerr(stderr);
}

}  // namespace strata
