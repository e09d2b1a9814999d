#pragma once

#include <filesystem>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::tests {

/// A fresh memory cgroup (v1 or v2) with a limit: the operating system as the judge of a budget.
/// Removed at the end, when no process is left in it.
class MemoryCgroup {
 public:
  /// `limit`: a multiple of the page size. Swap does not help.
  /// Errors: kUnsupported where none can be made (not root, no controller).
  [[nodiscard]] static Result<std::unique_ptr<MemoryCgroup>> create(Bytes limit);
  ~MemoryCgroup();
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;

  /// A process that writes 0 to this file moves itself in.
  [[nodiscard]] std::filesystem::path entrance() const { return path_ / "cgroup.procs"; }
  /// The most that was ever charged.
  [[nodiscard]] Bytes peak() const;
  /// Whether the kernel could bring what is charged below the new limit.
  [[nodiscard]] bool set_limit(Bytes limit);
  /// How often a charge met the limit.
  [[nodiscard]] std::uint64_t times_at_limit() const;

 private:
  MemoryCgroup(std::filesystem::path path, bool v2) : path_(std::move(path)), v2_(v2) {}

  std::filesystem::path path_;
  bool v2_;
};

/// Empties the page cache, so that what a program maps is charged to it and not to whoever had it before.
/// Does nothing for an ordinary user.
void drop_page_cache();

}  // namespace brimful::tests
