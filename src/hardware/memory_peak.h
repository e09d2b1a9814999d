#pragma once

#include <optional>

#include "base/bytes.h"

namespace brimful::hardware {

/// The most memory that this process held under one budget.
struct BudgetPeak {
  Bytes budget;
  /// Unset when the kernel does not tell.
  std::optional<Bytes> peak;
};

/// Measures the peak of memory use separately for each budget that this process has, one after the other.
/// The kernel's own peak marks are reset when a new budget begins.
/// Threading: one thread at a time.
class MemoryPeak {
 public:
  /// Begins the first budget. The marks are not reset here: memory that the process held earlier counts.
  explicit MemoryPeak(Bytes budget);

  /// The peak since the current budget began: by the account of a cgroup that is limited to the budget or
  /// less, else by the process's own account. Nullopt when the kernel does not tell.
  [[nodiscard]] std::optional<Bytes> peak() const;

  /// Ends the current budget and begins `budget`. Returns the ended budget with its peak. `at_least` is a
  /// peak that the new budget is known to have had already, because it was in use earlier.
  BudgetPeak begin(Bytes budget, std::optional<Bytes> at_least = {});

 private:
  Bytes budget_;
  std::optional<Bytes> at_least_;
  // The cgroup's peak when the budget began. A later peak counts only when it is higher, because the mark
  // cannot be reset everywhere.
  std::optional<Bytes> cgroup_before_;
  // Whether the process's own peak mark was reset when the budget began.
  bool own_mark_is_new_ = true;
};

}  // namespace brimful::hardware
