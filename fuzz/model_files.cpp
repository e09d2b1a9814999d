#include "model_files.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "base/check.h"
#include "model/split_names.h"

namespace brimful::fuzz {
namespace {

void fill(int file, const Part& part) {
  BRIMFUL_CHECK(::ftruncate(file, 0) == 0);
  const auto size = static_cast<ssize_t>(part.bytes.size());
  BRIMFUL_CHECK(::pwrite(file, part.bytes.data(), part.bytes.size(), 0) == size);
  BRIMFUL_CHECK(::ftruncate(file, static_cast<off_t>(part.file_size)) == 0);
}

}  // namespace

ModelFiles::ModelFiles() {
  std::string folder = (std::filesystem::temp_directory_path() / "brimful-fuzz-XXXXXX").string();
  BRIMFUL_CHECK(::mkdtemp(folder.data()) != nullptr);
  folder_ = folder;
  for (std::size_t i = 0; i < kMaxParts; ++i) {
    files_.push_back(::memfd_create("part", MFD_CLOEXEC));
    BRIMFUL_CHECK(files_.back() >= 0);
  }
  // There is a name for each part of each number of parts. All names lead to the same few files.
  for (std::uint32_t parts = 1; parts <= kMaxParts; ++parts) {
    const model::SplitName name{.stem = folder_ / "model", .part = 1, .parts = parts};
    for (std::uint32_t part = 1; part <= parts; ++part) {
      std::filesystem::create_symlink(fmt::format("/proc/self/fd/{}", files_[part - 1]), name.path_of(part));
    }
  }
}

ModelFiles::~ModelFiles() {
  std::error_code ignored;  // Files that cannot be removed stay in the folder for temporary files.
  std::filesystem::remove_all(folder_, ignored);
  for (const int file : files_) ::close(file);
}

std::filesystem::path ModelFiles::write(std::span<const Part> parts) {
  BRIMFUL_CHECK(!parts.empty() && parts.size() <= kMaxParts);
  for (std::size_t i = 0; i < parts.size(); ++i) fill(files_[i], parts[i]);
  const auto count = static_cast<std::uint32_t>(parts.size());
  return model::SplitName{.stem = folder_ / "model", .part = 1, .parts = count}.path_of(1);
}

}  // namespace brimful::fuzz
