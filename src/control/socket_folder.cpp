#include "control/socket_folder.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace brimful::control {
namespace {

namespace fs = std::filesystem;

fs::path folder_name() {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  std::error_code error;
  if (runtime != nullptr && fs::path(runtime).is_absolute() && fs::is_directory(runtime, error))
    return fs::path(runtime) / "brimful";
  return fmt::format("/tmp/brimful-{}", ::geteuid());
}

}  // namespace

Result<fs::path> socket_folder() {
  fs::path folder = folder_name();
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return fail(ErrorCode::kIo,
                fmt::format("{}: cannot be created: {}", folder.string(), std::strerror(errno)));
  struct stat facts {};
  // lstat() does not follow a symbolic link, which could lead anywhere.
  if (::lstat(folder.c_str(), &facts) != 0)
    return fail(ErrorCode::kIo, fmt::format("{}: {}", folder.string(), std::strerror(errno)));
  if (!S_ISDIR(facts.st_mode) || facts.st_uid != ::geteuid() || (facts.st_mode & 077) != 0) {
    return fail(ErrorCode::kUnsupported, fmt::format("{}: is not a folder that only this user can enter; "
                                                     "remove it, or set XDG_RUNTIME_DIR to a folder that is",
                                                     folder.string()));
  }
  return folder;
}

fs::path socket_path(const fs::path& folder, pid_t pid) { return folder / fmt::format("{}.sock", pid); }

std::vector<pid_t> sockets_in(const fs::path& folder) {
  std::vector<pid_t> out;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    pid_t pid = 0;
    const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (problem == std::errc{} && pid > 0 && std::string_view(end) == ".sock") out.push_back(pid);
  }
  std::ranges::sort(out);
  return out;
}

}  // namespace brimful::control
