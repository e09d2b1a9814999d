#pragma once

#include <optional>

#include "base/bytes.h"

namespace brimful::hardware {

/// The most that this process held while it had a budget.
struct BudgetPeak {
  Bytes budget;
  std::optional<Bytes> peak;  ///< Unset where the kernel does not tell.
};

/// Measures the peak of each budget of this process by itself: the kernel's marks are set back where a new
/// budget begins. Threading: one thread at a time.
class MemoryPeak {
 public:
  explicit MemoryPeak(Bytes budget);

  /// The peak since the budget began: by the account of a cgroup that is limited to the budget or less, else
  /// by the process's own account.
  [[nodiscard]] std::optional<Bytes> peak() const;

  /// Ends the budget, says what its peak was, and begins the next one. `at_least`: a peak that the next one
  /// had before, as it was in use earlier.
  BudgetPeak begin(Bytes budget, std::optional<Bytes> at_least = {});

 private:
  Bytes budget_;
  std::optional<Bytes> at_least_;
  std::optional<Bytes>
      cgroup_before_;            // the cgroup's mark when the budget began, where it cannot be set back
  bool own_mark_is_new_ = true;  // the process's own mark was set back when the budget began
};

}  // namespace brimful::hardware
