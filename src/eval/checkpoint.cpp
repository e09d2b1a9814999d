#include "eval/checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include "base/replace_file.h"

namespace brimful::eval {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBegin = "brimful checkpoint 1\n";
constexpr std::string_view kEnd = "\nend\n";

fs::path lock_of(const fs::path& file) {
  fs::path out = file;
  out += ".lock";
  return out;
}

bool expect(std::istream& in, std::string_view text) {
  std::string there(text.size(), '\0');
  return take(in, there) && there == text;
}

}  // namespace

Result<Checkpoint> Checkpoint::open(fs::path file, std::string identity) {
  const fs::path locked = lock_of(file);
  const int lock = ::open(locked.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock < 0)
    return fail(ErrorCode::kIo,
                fmt::format("{}: cannot be written: {}", locked.string(), std::strerror(errno)));
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock);
    return fail(ErrorCode::kIo,
                fmt::format("{}: another process computes the same: wait until it ends", file.string()));
  }
  return Checkpoint(std::move(file), std::move(identity), lock);
}

Checkpoint::Checkpoint(Checkpoint&& other) noexcept
    : file_(std::move(other.file_)),
      identity_(std::move(other.identity_)),
      lock_(std::exchange(other.lock_, -1)) {}

Checkpoint::~Checkpoint() {
  if (lock_ >= 0) ::close(lock_);
}

bool Checkpoint::is_no_checkpoint() const {
  std::ifstream in(file_, std::ios::binary);
  return in && !expect(in, kBegin);
}

bool Checkpoint::is_of_another() const {
  std::ifstream in(file_, std::ios::binary);
  return in && !(expect(in, kBegin) && expect(in, identity_ + "\n"));
}

bool Checkpoint::load(const std::function<bool(std::istream&)>& read) const {
  std::ifstream in(file_, std::ios::binary);
  return in && expect(in, kBegin) && expect(in, identity_ + "\n") && read(in) && expect(in, kEnd);
}

Status Checkpoint::save(const std::function<void(std::ostream&)>& write) const {
  return replace_file(fs::absolute(file_), [&](std::ostream& out) {
    out << kBegin << identity_ << '\n';
    write(out);
    out << kEnd;
  });
}

void Checkpoint::remove() {
  std::error_code ignored;
  fs::remove(file_, ignored);
  fs::remove(lock_of(file_), ignored);
}

}  // namespace brimful::eval
