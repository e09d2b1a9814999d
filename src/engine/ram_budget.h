#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "hardware/host_budget.h"
#include "hardware/host_memory.h"
#include "hardware/memory_claims.h"
#include "hardware/memory_peak.h"
#include "memory/pool.h"
#include "plan/host_plan.h"
#include "plan/option_names.h"
#include "plan/placement.h"

namespace brimful::engine {

/// The budget of this process in RAM: the decision how large it is, what other instances of the same user are
/// told about it, the pool that counts what is claimed from it, and the peaks that the kernel measured.
/// Threading: one thread at a time. Lifetime: it must outlive everything that has a reservation in its pool.
class RamBudget {
 public:
  struct Options {
    /// The budget that the user wants. Unset: as much as the machine allows.
    std::optional<Bytes> wanted;
    /// The memory of the machine that is planned for. Unset: this machine.
    std::optional<hardware::HostMemory> machine;
    /// True: other instances learn how much memory this process will take, and wait while it decides.
    bool claims_memory = true;
    /// What messages call `wanted`.
    std::string name = plan::OptionNames{}.ram;
  };

  /// Makes a budget that does not regard other instances; it holds until decide_first(). Announces this
  /// process to the other instances. Where these cannot be seen, the budget is decided as if this were the
  /// only instance. Errors: kIo when the memory of the machine cannot be read.
  [[nodiscard]] static Result<std::unique_ptr<RamBudget>> create(Options options);
  RamBudget(const RamBudget&) = delete;
  RamBudget& operator=(const RamBudget&) = delete;

  /// Decides the budget for the first time, with what other instances take. Later calls do nothing. Other
  /// instances wait until settle(). Errors: as create().
  [[nodiscard]] Status decide_first();
  /// Decides which budget is possible when `wanted` is asked for (unset: the most), and changes nothing yet.
  /// Other instances wait until settle(). Errors: as create().
  [[nodiscard]] Result<hardware::HostBudget> decide(std::optional<Bytes> wanted);
  /// Tells the other instances how much memory this process will hold: `most` bytes, which are known now.
  void settle(Bytes most);
  /// The largest budget that is possible now, with the memory that other processes and cgroups leave.
  /// Requires: Options::claims_memory is false. Errors: as create().
  [[nodiscard]] Result<Bytes> most();

  /// The pool of all reservations in RAM. Its capacity is the budget.
  [[nodiscard]] memory::Pool& pool() { return pool_; }
  [[nodiscard]] Bytes bytes() const { return pool_.capacity(); }
  /// Changes the budget. Errors: kBudgetExceeded when more than that is reserved; the budget stays.
  [[nodiscard]] Status resize(Bytes budget);
  /// Says why the budget differs from what the user expects; unset when it does not.
  [[nodiscard]] const std::optional<std::string>& note() const { return note_; }
  /// Sets the note that belongs to another budget.
  void set_note(std::optional<std::string> note) { note_ = std::move(note); }

  /// The memory of the machine that is planned for. Errors: as create().
  [[nodiscard]] Result<hardware::HostMemory> machine() const;
  /// The bytes that the budget leaves to this process now. Errors: as create().
  [[nodiscard]] Result<Bytes> room() const;
  /// How the budget is used now, by a model whose weights are placed as `placement` says.
  [[nodiscard]] plan::MemoryMap memory_map(const model::ModelProfile& profile,
                                           const plan::Placement& placement) const;

  /// The largest number of bytes that the process has held with its current budget, as the kernel counts
  /// them; nothing when the kernel does not tell.
  [[nodiscard]] std::optional<Bytes> peak() const { return peak_.peak(); }
  /// The earlier budgets, the first one first, with their peaks.
  [[nodiscard]] const std::vector<hardware::BudgetPeak>& earlier_peaks() const { return earlier_peaks_; }
  /// Begins to measure the peak of another budget, and returns the peak of the one that ends. `at_least`: as
  /// hardware::MemoryPeak::begin().
  hardware::BudgetPeak begin_peak(Bytes budget, std::optional<Bytes> at_least = {}) {
    return peak_.begin(budget, at_least);
  }
  /// Adds a budget that has ended to the earlier ones.
  void keep_peak(const hardware::BudgetPeak& ended) { earlier_peaks_.push_back(ended); }

 private:
  RamBudget(Options options, Bytes budget)
      : options_(std::move(options)), pool_("host", budget), peak_(budget) {}
  void announce();

  const Options options_;
  memory::Pool pool_;
  hardware::MemoryPeak peak_;
  std::vector<hardware::BudgetPeak> earlier_peaks_;
  std::unique_ptr<hardware::MemoryClaim> claim_;  // null when this process tells other instances nothing
  bool is_decided_ = false;                       // set by decide_first()
  std::optional<std::string> note_;
};

}  // namespace brimful::engine
