#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace brimful::hardware::testing {

/// A temporary directory that tests fill with files and give to the readers of /proc and /sys as their
/// `root`. The destructor removes it.
class RecordedTree {
 public:
  RecordedTree() {
    std::string name = (std::filesystem::temp_directory_path() / "brimful-root-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~RecordedTree() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  RecordedTree(const RecordedTree&) = delete;
  RecordedTree& operator=(const RecordedTree&) = delete;

  RecordedTree& file(const std::string& name, std::string_view text) {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
    return *this;
  }
  RecordedTree& directory(const std::string& name) {
    std::filesystem::create_directories(path_ / name);
    return *this;
  }
  /// Makes a symbolic link. `target` is the text of the link: a path relative to the link's folder, so that
  /// it stays within the tree.
  RecordedTree& link(const std::string& name, const std::string& target) {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::filesystem::create_symlink(target, path_ / name);
    return *this;
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace brimful::hardware::testing
