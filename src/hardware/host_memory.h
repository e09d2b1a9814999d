#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::hardware {

/// One memory cgroup (v1 or v2) with a limit, this process's own or one above it.
struct CgroupMemory {
  std::string path;
  Bytes limit;
  Bytes usage;                ///< everything charged to it, page cache and kernel memory included
  Bytes cache;                ///< page cache within `usage`: most of it can be reclaimed
  std::optional<Bytes> peak;  ///< the highest `usage` so far, where the kernel keeps it
  std::string name;           ///< Its path below the controller's mount, such as `/a/b`; `/` is the mount.
};

/// What the machine's memory allows this process, as the kernel tells it.
struct HostMemory {
  Bytes total;                        ///< MemTotal
  Bytes available;                    ///< MemAvailable
  std::vector<CgroupMemory> cgroups;  ///< innermost first; empty without a limit
};

/// What the kernel holds for this process.
struct ProcessMemory {
  Bytes peak;          ///< VmHWM: the highest `resident` so far
  Bytes resident;      ///< VmRSS: anonymous, file and shared pages present in its page tables
  Bytes page_tables;   ///< VmPTE
  Bytes mapped_files;  ///< whole size of the files it maps (program and libraries): bounds their page cache
  std::uint32_t threads = 1;
  Bytes anonymous;  ///< RssAnon: the part of `resident` that is no file's; `resident` where it is not told
};

// The parsers are pure; texts as the kernel writes them.

/// The path of this process under a controller, from /proc/self/cgroup: v1 (`4:memory:/a`) or v2 (`0::/a`).
struct CgroupPath {
  bool v2 = false;
  std::string path;
};
[[nodiscard]] std::optional<CgroupPath> parse_cgroup_path(std::string_view proc_self_cgroup,
                                                          std::string_view controller = "memory");

/// `key value [kB]` lines, as in /proc/meminfo, /proc/self/status and memory.stat. Values with kB are scaled.
[[nodiscard]] std::optional<Bytes> parse_field(std::string_view text, std::string_view key);

/// A cgroup limit file: a number of bytes, or `max`; v1's huge "no limit" number counts as none.
[[nodiscard]] std::optional<Bytes> parse_limit(std::string_view text);

/// Reads the machine. `root` stands before /proc and /sys (tests give a recorded tree).
/// Errors: kIo when /proc cannot be read.
[[nodiscard]] Result<HostMemory> read_host_memory(const std::filesystem::path& root = "/");
[[nodiscard]] Result<ProcessMemory> read_process_memory(const std::filesystem::path& root = "/");

/// The most ever charged to a cgroup limited to `budget` or less, whoever it was; nothing without one.
[[nodiscard]] std::optional<Bytes> cgroup_peak_bytes(Bytes budget);

/// What this process holds by its own account: resident pages, page tables, and the kernel's stacks.
[[nodiscard]] Bytes held_bytes(const ProcessMemory& process);

/// How much more this process may take before its budget, or a cgroup over it, is full. A cgroup limited to
/// the budget or less is itself the measure: it knows which shared pages are charged to others. Page cache in
/// a cgroup counts only as far as this process's own files can be in it; the rest makes way.
[[nodiscard]] Bytes room(Bytes budget, const HostMemory& host, const ProcessMemory& process);

}  // namespace brimful::hardware
