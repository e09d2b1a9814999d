#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <vector>

#include "temporary_directory.h"
#include "tier/io/disk_reader.h"

namespace brimful::tests {

/// Files of random bytes that can be opened as the files of a model. They lie in a new temporary directory,
/// or in `directory` when one is given.
class DiskTestFiles {
 public:
  explicit DiskTestFiles(const std::vector<std::uint64_t>& sizes,
                         const std::filesystem::path& directory = {}) {
    std::mt19937_64 random(sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      std::vector<std::byte> bytes(align_up(sizes[i], 8));
      for (std::size_t at = 0; at < bytes.size(); at += 8) {
        const std::uint64_t value = random();
        std::memcpy(bytes.data() + at, &value, 8);
      }
      bytes.resize(sizes[i]);
      const auto path = (directory.empty() ? own_.path() : directory) / ("part-" + std::to_string(i));
      std::ofstream(path, std::ios::binary)
          .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
      contents_.push_back(std::move(bytes));
      profile_.files.push_back(describe(path));
    }
  }

  [[nodiscard]] const model::ModelProfile& profile() const { return profile_; }
  [[nodiscard]] const std::filesystem::path& path(std::size_t file) const {
    return profile_.files[file].path;
  }
  [[nodiscard]] const std::vector<std::byte>& contents(std::size_t file) const { return contents_[file]; }
  [[nodiscard]] Result<tier::DiskFiles> open() const { return tier::DiskFiles::open(profile_); }

  /// Whether `data` equals the content of the file from `offset` on: `size` bytes, or fewer when the file
  /// ends before.
  [[nodiscard]] bool equal(const std::byte* data, std::size_t file, std::uint64_t offset,
                           std::uint64_t size) const {
    const std::vector<std::byte>& bytes = contents_[file];
    const std::uint64_t there = std::min<std::uint64_t>(size, bytes.size() - offset);
    return std::memcmp(data, bytes.data() + offset, there) == 0;
  }

 private:
  static model::ModelFile describe(const std::filesystem::path& path) {
    struct stat st {};
    ::stat(path.c_str(), &st);
    return {path, Bytes{static_cast<std::uint64_t>(st.st_size)}, st.st_dev, st.st_ino,
            std::int64_t{st.st_mtim.tv_sec} * 1'000'000'000 + st.st_mtim.tv_nsec};
  }

  TemporaryDirectory own_;
  std::vector<std::vector<std::byte>> contents_;
  model::ModelProfile profile_;
};

/// Memory that is aligned for direct reads.
class BlockMemory {
 public:
  explicit BlockMemory(std::uint64_t size)
      : data_(static_cast<std::byte*>(std::aligned_alloc(4096, align_up(size, 4096))), &std::free) {}
  [[nodiscard]] std::byte* data() const { return data_.get(); }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> data_;
};

}  // namespace brimful::tests
