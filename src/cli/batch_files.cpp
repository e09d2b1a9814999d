#include "cli/batch_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/hash.h"
#include "base/private_files.h"
#include "base/user_folders.h"
#include "batch/line_file.h"
#include "batch/stream_file.h"

namespace brimful::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUnfinished = ".part";
// The beginning of the name of a stream's copy, until its requests are known.
constexpr const char* kCopy = "input-";

bool is_terminal_or_device(const fs::path& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISCHR(info.st_mode);
}

bool are_the_same(const fs::path& one, const fs::path& other) {
  if (one.empty() || other.empty() || one == batch::kStandard || other == batch::kStandard) return false;
  if (is_terminal_or_device(one)) return false;  // Each use of such a path is another stream.
  std::error_code error;
  if (fs::exists(one, error) && fs::exists(other, error)) return fs::equivalent(one, other, error);
  return fs::weakly_canonical(one, error) == fs::weakly_canonical(other, error);
}

/// Returns a file that is written, and the temporary files beside it.
std::vector<NamedFile> written_for(const char* flag, const fs::path& path) {
  std::vector<NamedFile> out = {{flag, path}};
  if (!path.empty() && !batch::is_stream(path)) out.push_back({flag, path.string() + kUnfinished});
  return out;
}

/// Other users must not see the requests.
Status make_folder(const fs::path& folder) {
  const Status made = make_private_folder(folder);
  if (made) return {};
  return fail(made.error().code,
              fmt::format("{}: set XDG_STATE_HOME to a folder of your own", made.error().message));
}

/// Removes copies that belong to no process any more. A process that writes a copy holds its lock.
void remove_abandoned_copies(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (!entry.path().filename().string().starts_with(kCopy)) continue;
    const int file = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) continue;
    if (::flock(file, LOCK_EX | LOCK_NB) == 0) ::unlink(entry.path().c_str());
    ::close(file);
  }
}

}  // namespace

fs::path journal_folder() { return state_folder() / "batches"; }

Status check_distinct(const batch::JobFiles& files, const std::vector<NamedFile>& read,
                      const std::vector<NamedFile>& also_written) {
  std::vector<NamedFile> written = written_for("-o", files.output);
  if (!batch::is_stream(files.output)) {
    for (const char* const end : {"", "-wal", "-shm"})
      written.push_back({"-o", files.journal_path().string() + end});
  }
  for (NamedFile& file : written_for("--error-file", files.errors)) {
    // One stream may take answers and errors, because each line says what it is.
    if (!batch::is_stream(files.errors) || files.errors != files.output) written.push_back(std::move(file));
  }
  written.insert(written.end(), also_written.begin(), also_written.end());
  for (std::size_t i = 0; i < written.size(); ++i) {
    const auto check = [&](const NamedFile& other) -> Status {
      if (!are_the_same(written[i].path, other.path)) return {};
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} {}: is the same file as {} {}, which would be lost: name another file",
                              written[i].flag, written[i].path.string(), other.flag, other.path.string()));
    };
    for (const NamedFile& other : read) BRIMFUL_TRY_VOID(check(other));
    for (std::size_t j = 0; j < i; ++j) BRIMFUL_TRY_VOID(check(written[j]));
  }
  return {};
}

Result<BatchFiles> BatchFiles::prepare(batch::JobFiles files, const batch::Shard& shard,
                                       const std::string& fingerprint, const batch::Job::Watch& watch) {
  BatchFiles out;
  if (!fs::exists(
          files.journal_path())) {  // This is checked before requests are read, perhaps from a person.
    for (const fs::path& file : {files.output, files.errors}) BRIMFUL_TRY_VOID(batch::check_absent(file));
  }
  const bool streams_out = batch::is_stream(files.output);
  const fs::path folder = journal_folder();
  if (streams_out) {
    BRIMFUL_TRY_VOID(make_folder(folder));
    remove_abandoned_copies(folder);
  }
  const bool streams_in = batch::is_stream(files.input);
  if (streams_in) {
    const std::string copy = (streams_out ? (folder / fmt::format("{}{}", kCopy, ::getpid())).string()
                                          : files.journal_path().string() + "-input") +
                             kUnfinished;
    BRIMFUL_TRY_VOID(batch::keep_stream(files.input, copy, watch.stopped,
                                        [&](const auto& write) { return batch::patiently(watch, write); }));
    out.copy_ = copy;
    files.input_name = batch::input_name(files.input);
    files.input = out.copy_;
  }
  if (streams_out) {
    BRIMFUL_TRY(files.identity, batch::read_lines(
                                    files.input, [](const auto&) { return Status{}; }, batch::kLongestLine));
    Hash64 name;
    name.add(fmt::format("{} {} {}/{}", files.identity, fingerprint, shard.index, shard.count));
    files.journal = folder / fmt::format("{:016x}.brimful", name.value());
  }
  if (streams_in) files.kept_input = files.journal_path().string() + "-input";
  out.files_ = std::move(files);
  return out;
}

BatchFiles::BatchFiles(BatchFiles&& other) noexcept
    : files_(std::move(other.files_)), copy_(std::exchange(other.copy_, {})) {}

BatchFiles::~BatchFiles() {
  std::error_code error;
  if (!copy_.empty()) fs::remove(copy_, error);
}

}  // namespace brimful::cli
