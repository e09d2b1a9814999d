#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace brimful::tests {

/// interfere.cpp, in the environment of the programs that are started meanwhile.
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
