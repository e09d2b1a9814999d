#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::hardware {

/// One memory cgroup (v1 or v2) with a limit: this process's own cgroup or one above it.
struct CgroupMemory {
  /// The folder of the cgroup in the file system.
  std::string path;
  Bytes limit;
  /// Everything that is charged to the cgroup, page cache and kernel memory included.
  Bytes usage;
  /// The page cache within `usage`. The kernel can reclaim most of it.
  Bytes cache;
  /// The highest `usage` so far. Unset when the kernel does not keep it.
  std::optional<Bytes> peak;
  /// The path below the controller's mount, such as `/a/b`; `/` is the mount itself.
  std::string name;
};

/// How much of the machine's memory this process may use, as the kernel tells it.
struct HostMemory {
  Bytes total;      ///< MemTotal in /proc/meminfo.
  Bytes available;  ///< MemAvailable in /proc/meminfo.
  /// The cgroups with a limit, the innermost first. Empty when there is no limit.
  std::vector<CgroupMemory> cgroups;
};

/// The memory that the kernel holds for this process.
struct ProcessMemory {
  /// VmHWM: the highest `resident` so far.
  Bytes peak;
  /// VmRSS: the anonymous, file and shared pages in the page tables of the process.
  Bytes resident;
  /// VmPTE: the page tables themselves.
  Bytes page_tables;
  /// The whole size of the files that the process maps (program and libraries). Their page cache cannot be
  /// larger.
  Bytes mapped_files;
  std::uint32_t threads = 1;
  /// RssAnon: the part of `resident` that belongs to no file. It equals `resident` when the kernel does not
  /// tell.
  Bytes anonymous;
};

// The parse_ functions are pure; they take texts as the kernel writes them.

/// The path of this process's cgroup under a controller.
struct CgroupPath {
  bool v2 = false;
  std::string path;
};
/// Finds the cgroup of this process in the text of /proc/self/cgroup: a v1 line (`4:memory:/a`), else the v2
/// line (`0::/a`). Returns nullopt when there is neither.
[[nodiscard]] std::optional<CgroupPath> parse_cgroup_path(std::string_view proc_self_cgroup,
                                                          std::string_view controller = "memory");

/// Returns the value of `key` in a text of lines `key value [kB]`, as in /proc/meminfo, /proc/self/status
/// and memory.stat. Values in kB are converted to bytes. Returns nullopt when the key is missing.
[[nodiscard]] std::optional<Bytes> parse_field(std::string_view text, std::string_view key);
/// Parses a cgroup's limit file: a number of bytes, or `max`. Returns nullopt when there is no limit; the
/// huge number that v1 writes for that counts as none, too.
[[nodiscard]] std::optional<Bytes> parse_limit(std::string_view text);

/// Reads the memory of the machine and its cgroups. `root` stands before /proc and /sys; tests give a
/// recorded tree.
/// Errors: kIo when /proc cannot be read.
[[nodiscard]] Result<HostMemory> read_host_memory(const std::filesystem::path& root = "/");
/// Reads the memory of this process. `root` and errors are as above.
[[nodiscard]] Result<ProcessMemory> read_process_memory(const std::filesystem::path& root = "/");

/// The highest memory use so far, by all processes in it, of the innermost cgroup that is limited to
/// `budget` or less. Nullopt when there is no such cgroup, or the kernel does not keep the number.
[[nodiscard]] std::optional<Bytes> cgroup_peak_bytes(Bytes budget);

/// The memory that this process holds by its own account: resident pages, page tables, and the kernel's
/// stacks and task structures (24 KiB for each thread).
[[nodiscard]] Bytes held_bytes(const ProcessMemory& process);

/// How much more memory this process may take before its budget or a cgroup above it is full; 0 when one is
/// full. When a cgroup is limited to the budget or less, the account of that cgroup counts instead of the
/// process's own: it knows which shared pages are charged to others. Page cache in a cgroup counts only as
/// far as it can belong to the files that this process maps, because the kernel reclaims the rest when it is
/// needed. Pure.
[[nodiscard]] Bytes room(Bytes budget, const HostMemory& host, const ProcessMemory& process);

}  // namespace brimful::hardware
