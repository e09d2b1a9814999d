#include "engine/saved_sequence.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "engine/llama_log.h"

namespace brimful::engine {
namespace {

Error failed(const std::string& place, std::string_view what, std::string why = take_llama_error()) {
  if (why.empty()) why = std::strerror(errno);
  return Error{
      ErrorCode::kIo,
      fmt::format(
          "{}: the state of a sequence cannot be {} ({}); set TMPDIR to a folder on a disk with more room",
          place, what, why)};
}

/// The folder for saved sequences. It is not /tmp, which is often memory and would be taken from the budget.
std::string folder() {
  const char* const named = std::getenv("TMPDIR");
  return named != nullptr && *named != '\0' ? named : "/var/tmp";
}

bool is_memory(const std::string& path) {
  struct statfs of {};
  return ::statfs(path.c_str(), &of) == 0 && (of.f_type == TMPFS_MAGIC || of.f_type == RAMFS_MAGIC);
}

/// Opens a file without a name, so that nothing is left of it whatever happens to this process.
int open_nameless(const std::string& where) {
  const int file = ::open(where.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return file;
  std::string name = fmt::format("{}/brimful-{}-XXXXXX", where, ::getpid());
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

}  // namespace

std::string SavedSequence::path() const { return fmt::format("/proc/self/fd/{}", file_); }

Result<SavedSequence> SavedSequence::save(llama_context* context, llama_seq_id sequence) {
  const std::string where = folder();
  constexpr std::string_view kWhat = "saved here";
  if (is_memory(where)) return std::unexpected(failed(where, kWhat, "it is memory, not a disk"));
  const int file = open_nameless(where);
  if (file < 0) return std::unexpected(failed(where, kWhat));
  SavedSequence out(file);
  const std::size_t written = llama_state_seq_save_file(context, out.path().c_str(), sequence, nullptr, 0);
  // libllama ignores errors when it closes the file, so the size is checked here.
  struct stat now {};
  if (written > 0 && ::fstat(file, &now) == 0 && static_cast<std::size_t>(now.st_size) == written) return out;
  return std::unexpected(failed(where, kWhat));
}

SavedSequence::~SavedSequence() {
  if (file_ >= 0) ::close(file_);
}

Status SavedSequence::restore(llama_context* context, llama_seq_id sequence) const {
  llama_token none = 0;
  std::size_t count = 0;
  if (llama_state_seq_load_file(context, path().c_str(), sequence, &none, 0, &count) > 0) return {};
  return std::unexpected(failed(folder(), "read back"));
}

}  // namespace brimful::engine
