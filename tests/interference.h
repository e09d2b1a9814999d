#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace brimful::tests {

/// As long as it exists, programs that are started load the library interfere.cpp. The library ends the
/// program or lets a call fail just before the call with the number `call` that changes a file in `folder`.
/// `what` is kill, EIO, ENOSPC, ENOMEM or count, as interfere.cpp describes.
class Interference {
 public:
  Interference(const std::string& what, int call, const std::filesystem::path& folder) {
    ::setenv("LD_PRELOAD", BRIMFUL_INTERFERE_LIBRARY, 1);
    ::setenv("BRIMFUL_INTERFERE", (what + ":" + std::to_string(call) + ":" + folder.string()).c_str(), 1);
  }
  ~Interference() {
    ::unsetenv("LD_PRELOAD");
    ::unsetenv("BRIMFUL_INTERFERE");
  }
  Interference(const Interference&) = delete;
  Interference& operator=(const Interference&) = delete;
};

}  // namespace brimful::tests
