#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace brimful::tests {

/// A fresh $XDG_RUNTIME_DIR for this process and those it starts, removed at the end.
class RuntimeDirectory {
 public:
  RuntimeDirectory() {
    std::string name = "/tmp/brimful-test-XXXXXX";  // short: the name of a socket must be
    path_ = ::mkdtemp(name.data());
    ::setenv("XDG_RUNTIME_DIR", path_.c_str(), 1);
  }
  ~RuntimeDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  RuntimeDirectory(const RuntimeDirectory&) = delete;
  RuntimeDirectory& operator=(const RuntimeDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace brimful::tests
