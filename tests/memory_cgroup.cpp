#include "memory_cgroup.h"

#include <unistd.h>

#include <chrono>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "hardware/host_memory.h"

namespace brimful::tests {
namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

bool write_text(const fs::path& path, const std::string& text) {
  std::ofstream out(path);
  out << text << std::flush;
  return static_cast<bool>(out);
}

/// Returns the cgroup in which a new one can be made. v2 allows no cgroups beside processes, so there it is
/// the root.
std::optional<fs::path> parent_of(const hardware::CgroupPath& own) {
  if (!own.v2) {
    const fs::path mount = "/sys/fs/cgroup/memory";
    const fs::path inner = mount / fs::path(own.path).relative_path();
    return fs::is_directory(inner) ? inner : mount;
  }
  const fs::path root = "/sys/fs/cgroup";
  if (read_text(root / "cgroup.subtree_control").find("memory") == std::string::npos &&
      !write_text(root / "cgroup.subtree_control", "+memory")) {
    return std::nullopt;
  }
  return root;
}

}  // namespace

Result<std::unique_ptr<MemoryCgroup>> MemoryCgroup::create(Bytes limit) {
  static int count = 0;
  const auto own = hardware::parse_cgroup_path(read_text("/proc/self/cgroup"));
  const auto parent = own ? parent_of(*own) : std::nullopt;
  if (!parent) return fail(ErrorCode::kUnsupported, "no memory cgroup controller");
  const fs::path path =
      *parent / ("brimful-test-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
  std::error_code error;
  if (!fs::create_directory(path, error)) {
    return fail(ErrorCode::kUnsupported, path.string() + ": " + error.message());
  }
  std::unique_ptr<MemoryCgroup> cgroup(new MemoryCgroup(path, own->v2));
  if (!cgroup->set_limit(limit)) {
    return fail(ErrorCode::kUnsupported, path.string() + ": its limit cannot be set");
  }
  write_text(path / (own->v2 ? "memory.swap.max" : "memory.swappiness"), "0");
  return cgroup;
}

bool MemoryCgroup::set_limit(Bytes limit) {
  return write_text(path_ / (v2_ ? "memory.max" : "memory.limit_in_bytes"), std::to_string(limit.value));
}

MemoryCgroup::~MemoryCgroup() {
  for (int i = 0; i < 100 && ::rmdir(path_.c_str()) != 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));  // The last process in it is still ending.
  }
}

Bytes MemoryCgroup::peak() const {
  const std::string text = read_text(path_ / (v2_ ? "memory.peak" : "memory.max_usage_in_bytes"));
  return text.empty() ? Bytes{} : Bytes{std::stoull(text)};
}

std::uint64_t MemoryCgroup::times_at_limit() const {
  if (!v2_) return std::stoull(read_text(path_ / "memory.failcnt"));
  return hardware::parse_field(read_text(path_ / "memory.events"), "max").value_or(Bytes{}).value;
}

void drop_page_cache() {
  if (::geteuid() != 0) return;
  ::sync();
  write_text("/proc/sys/vm/drop_caches", "1");
}

}  // namespace brimful::tests
