#include "hardware/memory_claims.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <map>
#include <thread>

#include "hardware/system_text.h"

namespace brimful::hardware {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kBetweenTries{10};
constexpr std::string_view kExtension = ".claim";
constexpr std::string_view kStarting = "starting";

// This process's number while one of its claims holds the lock for deciding; else 0.
std::atomic<pid_t> deciding_process{0};

/// A descriptor that is closed at the end, which releases its lock.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return value_; }
  [[nodiscard]] int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

/// Writes the whole text in one call, so that a reader sees either the old text or the new one.
void write_claim(int descriptor, std::string_view text) {
  std::array<char, 64> block{};
  text.copy(block.data(), block.size());
  // When the claim cannot be written, the others do not see it, and judge by the memory that is free.
  static_cast<void>(::pwrite(descriptor, block.data(), block.size(), 0));
}

std::string read_claim(int descriptor) {
  std::array<char, 64> block{};
  const ssize_t got = ::pread(descriptor, block.data(), block.size() - 1, 0);
  return got > 0 ? std::string(block.data()) : std::string();
}

/// Returns the process of a file such as `123-4.claim`, which is the 4th claim of process 123.
std::optional<pid_t> process_of(const fs::path& file) {
  const std::string name = file.filename().string();
  pid_t pid = 0;
  const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (problem != std::errc{} || pid <= 0 || *end != '-' || !name.ends_with(kExtension)) return std::nullopt;
  return pid;
}

Bytes resident_bytes(pid_t pid) {
  const auto status = read_text(fmt::format("/proc/{}/status", pid));
  const auto resident = status ? parse_field(*status, "VmRSS") : std::nullopt;
  return resident.value_or(Bytes{});
}

std::string memory_cgroup_of(pid_t pid) {
  const auto text = read_text(fmt::format("/proc/{}/cgroup", pid));
  const auto path = text ? parse_cgroup_path(*text) : std::nullopt;
  return path ? path->path : std::string();
}

}  // namespace

Result<std::unique_ptr<MemoryClaim>> MemoryClaim::announce(const fs::path& folder) {
  static std::atomic<int> claims{0};
  const fs::path file = folder / fmt::format("{}-{}{}", ::getpid(), ++claims, kExtension);
  const fs::path unlocked = file.string() + ".new";
  const auto failed = [&] {
    return fail(ErrorCode::kIo,
                fmt::format("{}: cannot be created: {}", file.string(), std::strerror(errno)));
  };
  Descriptor made(::open(unlocked.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (made.get() < 0) return failed();
  // The file gets its name only when it is locked: a file without a lock counts as that of a dead process.
  write_claim(made.get(), kStarting);
  if (::flock(made.get(), LOCK_EX | LOCK_NB) != 0 || ::rename(unlocked.c_str(), file.c_str()) != 0)
    return failed();
  return std::unique_ptr<MemoryClaim>(new MemoryClaim(folder, file, made.release()));
}

MemoryClaim::~MemoryClaim() {
  std::error_code ignored;
  fs::remove(file_, ignored);
  settle();
  ::close(descriptor_);
}

MemoryClaim::Others MemoryClaim::begin_to_decide() {
  // Another claim of this process that decides is no reason to wait, because nobody else would end that
  // wait.
  if (deciding_ < 0 && deciding_process != ::getpid()) {
    const fs::path lock = folder_ / "deciding.lock";
    Descriptor taken(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    const auto end = Clock::now() + kPatience;
    while (taken.get() >= 0 && ::flock(taken.get(), LOCK_EX | LOCK_NB) != 0 && Clock::now() < end)
      std::this_thread::sleep_for(kBetweenTries);
    deciding_ = taken.release();
    if (deciding_ >= 0) deciding_process = ::getpid();
  }
  return read(folder_, file_);
}

void MemoryClaim::promise(Bytes most) { write_claim(descriptor_, std::to_string(most.value)); }

void MemoryClaim::settle() {
  if (deciding_ < 0) return;
  // Closing alone is not enough: a child that was forked meanwhile would still hold the lock.
  ::flock(deciding_, LOCK_UN);
  ::close(deciding_);
  deciding_ = -1;
  deciding_process = 0;
}

MemoryClaim::Others MemoryClaim::read(const fs::path& folder) { return read(folder, {}); }

MemoryClaim::Others MemoryClaim::read(const fs::path& folder, const fs::path& own) {
  Others out;
  std::map<pid_t, OtherInstance> by_process;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const fs::path& file = entry->path();
    const auto pid = process_of(file);
    if (!pid || file == own) continue;
    const Descriptor claim(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (claim.get() < 0) continue;
    if (::flock(claim.get(), LOCK_SH | LOCK_NB) == 0) {  // Nobody holds the lock, so the process has ended.
      ::unlink(file.c_str());
      continue;
    }
    const std::string text = read_claim(claim.get());
    if (text == kStarting) {
      ++out.starting;
      continue;
    }
    OtherInstance& process = by_process[*pid];
    process.pid = *pid;
    process.promised += Bytes{parse_number(text).value_or(0)};
  }
  for (auto& [pid, process] : by_process) {
    process.untaken = saturating_sub(process.promised, resident_bytes(pid));
    process.memory_cgroup = memory_cgroup_of(pid);
    out.decided.push_back(std::move(process));
  }
  return out;
}

}  // namespace brimful::hardware
