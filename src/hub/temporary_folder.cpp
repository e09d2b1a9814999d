#include "hub/temporary_folder.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>

namespace brimful::hub {

Result<TemporaryFolder> TemporaryFolder::make() {
  std::error_code unknown;
  const std::filesystem::path parent = std::filesystem::temp_directory_path(unknown);
  std::string name = ((unknown ? "/tmp" : parent) / "brimful-XXXXXX").string();
  if (::mkdtemp(name.data()) != nullptr) return TemporaryFolder(name);
  return fail(ErrorCode::kIo, fmt::format("{}: no folder for temporary files can be made ({}): set TMPDIR",
                                          name, std::strerror(errno)));
}

Result<TemporaryFolder> TemporaryFolder::make_in(const std::filesystem::path& parent) {
  std::error_code error;
  std::filesystem::create_directories(parent, error);
  std::string name = (parent / ".brimful-XXXXXX").string();
  if (!error && ::mkdtemp(name.data()) != nullptr) return TemporaryFolder(name);
  return fail(ErrorCode::kIo, fmt::format("{}: cannot be written: {}; HF_HUB_CACHE names another cache",
                                          parent.string(), error ? error.message() : std::strerror(errno)));
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;  // Files that cannot be removed stay among the temporary files.
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace brimful::hub
