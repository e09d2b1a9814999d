#include "base/replace_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <system_error>

#include "base/private_files.h"

namespace brimful {
namespace {

namespace fs = std::filesystem;

std::unexpected<Error> failed(const fs::path& file, const std::error_code& why) {
  return fail(ErrorCode::kIo, fmt::format("{}: cannot be written: {}", file.string(), why.message()));
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
  std::ofstream out(part, std::ios::binary | std::ios::trunc);
  write(out);
  out.close();
  if (!out) error = std::make_error_code(std::errc::io_error);
  if (!error) fs::rename(part, file, error);
  if (!error) return {};
  std::error_code ignored;
  fs::remove(part, ignored);
  return failed(file, error);
}

}  // namespace brimful
