#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace brimful::tests {

/// A new directory on a real disk (beside the build, not in memory). The destructor removes it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = std::string(BRIMFUL_TEST_DIR) + "/XXXXXX";
    std::filesystem::create_directories(BRIMFUL_TEST_DIR);
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace brimful::tests
