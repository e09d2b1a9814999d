#pragma once

#include <filesystem>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::tests {

/// A new memory cgroup (v1 or v2) with a limit, with which the operating system judges whether a budget
/// holds. The destructor removes it; no process may be left in it then.
class MemoryCgroup {
 public:
  /// Makes a cgroup. `limit` is a multiple of the page size. Processes in the cgroup cannot swap.
  /// Errors: kUnsupported when no cgroup can be made (not root, or no memory controller).
  [[nodiscard]] static Result<std::unique_ptr<MemoryCgroup>> create(Bytes limit);
  ~MemoryCgroup();
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;

  /// The file for entering: a process that writes 0 to it moves itself into the cgroup.
  [[nodiscard]] std::filesystem::path entrance() const { return path_ / "cgroup.procs"; }
  /// The most memory that was charged to the cgroup so far.
  [[nodiscard]] Bytes peak() const;
  /// Changes the limit. Returns false when the kernel cannot reclaim enough memory to get below it.
  [[nodiscard]] bool set_limit(Bytes limit);
  /// How many times a charge reached the limit.
  [[nodiscard]] std::uint64_t times_at_limit() const;

 private:
  MemoryCgroup(std::filesystem::path path, bool v2) : path_(std::move(path)), v2_(v2) {}

  std::filesystem::path path_;
  bool v2_;
};

/// Empties the page cache, so that the files which a program maps are charged to that program and not to an
/// earlier one. Does nothing for a user other than root.
void drop_page_cache();

}  // namespace brimful::tests
