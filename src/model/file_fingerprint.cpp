#include "model/file_fingerprint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/hash.h"
#include "model/header_file.h"

namespace brimful::model {
namespace {

constexpr std::uint64_t kSamples = 16;
constexpr std::size_t kSampleBytes = 4096;

/// Adds samples that lie evenly between `begin` and `end`, both in bytes from the start of the file.
Status add_samples(const std::filesystem::path& path, std::uint64_t begin, std::uint64_t end, Hash64& hash) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return fail(ErrorCode::kIo, fmt::format("{}: cannot be opened: {}", path.string(), std::strerror(errno)));
  ::posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM);
  std::array<char, kSampleBytes> sample{};
  int error = 0;
  for (std::uint64_t i = 0; i < kSamples && error == 0 && begin < end; ++i) {
    const std::uint64_t at = begin + (end - begin) / kSamples * i;
    const ::ssize_t got = ::pread(file, sample.data(), sample.size(), static_cast<::off_t>(at));
    if (got < 0 && errno != EINTR) error = errno;
    if (got > 0) hash.add(std::string_view(sample.data(), static_cast<std::size_t>(got)));
    if (got < 0 && errno == EINTR) --i;
  }
  ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  ::close(file);
  if (error == 0) return {};
  return fail(ErrorCode::kIo, fmt::format("{}: cannot be read: {}", path.string(), std::strerror(error)));
}

}  // namespace

Result<std::string> file_fingerprint(const std::filesystem::path& path) {
  BRIMFUL_TRY(const HeaderFile header, read_header(path, Weights::kMayBeMissing));
  Hash64 hash;
  hash.add(std::string_view(reinterpret_cast<const char*>(header.bytes.data()), header.bytes.size()));
  BRIMFUL_TRY_VOID(add_samples(path, header.header.size, header.file.size.value, hash));
  return fmt::format("{:016x}-{}", hash.value(), header.file.size.value);
}

Result<std::string> model_fingerprint(std::span<const ModelFile> files) {
  Hash64 hash;
  Bytes size;
  for (const ModelFile& file : files) {
    BRIMFUL_TRY(const std::string part, file_fingerprint(file.path));
    hash.add(part);
    hash.add('\n');
    size += file.size;
  }
  return fmt::format("{:016x}-{}", hash.value(), size.value);
}

}  // namespace brimful::model
