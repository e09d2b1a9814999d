#include "base/replace_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <system_error>

#include "base/private_files.h"

namespace brimful {
namespace {

namespace fs = std::filesystem;

std::unexpected<Error> failed(const fs::path& file, const std::error_code& why) {
  const bool full = why == std::errc::no_space_on_device;
  return fail(full ? ErrorCode::kNoSpace : ErrorCode::kIo,
              fmt::format("{}: cannot be written: {}", file.string(), why.message()));
}

}  // namespace

Status replace_file(const fs::path& file, const std::function<void(std::ostream&)>& write, Readers readers) {
  const fs::path part = fmt::format("{}.brimful-{}", file.string(), ::getpid());
  std::error_code error;
  if (readers == Readers::kUser) {
    BRIMFUL_TRY_VOID(make_private_folder(file.parent_path()));
    BRIMFUL_TRY_VOID(make_private_file(part));
  } else if (fs::create_directories(file.parent_path(), error); error) {
    return failed(file, error);
  }
  errno = 0;
  std::ofstream out(part, std::ios::binary | std::ios::trunc);
  if (out) write(out);
  out.close();
  if (!out) error = {errno != 0 ? errno : EIO, std::generic_category()};
  if (!error) fs::rename(part, file, error);
  if (!error) return {};
  std::error_code ignored;
  fs::remove(part, ignored);
  return failed(file, error);
}

}  // namespace brimful
