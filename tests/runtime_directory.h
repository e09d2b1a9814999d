#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace brimful::tests {

/// A new $XDG_RUNTIME_DIR for this process and for the processes that it starts. The destructor removes it.
class RuntimeDirectory {
 public:
  RuntimeDirectory() {
    std::string name = "/tmp/brimful-test-XXXXXX";  // The path is short because paths of sockets must be.
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
