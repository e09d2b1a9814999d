#pragma once

#include <ggml-backend.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "base/user_folders.h"
#include "hardware/profile.h"
#include "model/model_profile.h"

namespace brimful::probe {

/// Which rates probe() measures.
enum class Refresh {
  /// Nothing where the rates that the model needs are known; else kModelsTypes, or kAll without a model.
  kNever,
  /// Everything (kAll) when the rate of any type of weights is not known yet; else nothing.
  kMissing,
  /// Everything, but the kernels only for the types of the model. Known rates are measured again. Takes a
  /// quarter of a minute.
  kModelsTypes,
  /// Without a model: everything once instead of twice, and the kernels only for the most usual types. Takes
  /// some seconds.
  kUsualTypes,
  /// Everything, with the kernels for all types. Known rates are measured again. Takes about a minute.
  kAll,
};

/// The options of probe() and known().
struct ProbeOptions {
  /// The number of threads that compute.
  int threads = 1;
  /// The model whose disk is measured and whose types of weights count. Null: the profile has no disk.
  const model::ModelProfile* model = nullptr;
  Refresh refresh = Refresh::kNever;
  /// Whether this machine was measured before. probe() sets this itself; callers leave it alone.
  bool known_before = false;
  /// The folder with the profiles of earlier measurements.
  std::filesystem::path cache = cache_folder();
  /// Returns ggml's devices with memory of their own, to which copies are measured. Unset: no such
  /// measurement. It is called in a process of its own: with kAll, when the machine is measured for the
  /// first time, and as long as a card has no rate.
  std::function<Result<std::vector<ggml_backend_dev_t>>()> devices;
  /// Called before each step of a measurement with a name of the step for people, the number of steps that
  /// are done, and the number of all steps. Unset: no reports.
  std::function<void(std::string_view what, int done, int steps)> progress;
};

/// Returns the profile of this machine. Facts are read with each call. Rates are measured once and kept in
/// the cache for this hardware, number of threads and disk; when one of these changes, they are measured
/// again. Rates that were measured while other programs used the processors are marked
/// (Profile::disturbed_by), and measured again by the first call that finds the processors free.
/// Errors: kIo, kInternal; kBudgetExceeded when there is not enough memory to measure in. A cache that
/// cannot be written is no error.
/// Blocks: a quarter of a minute to some minutes when it measures (see Refresh).
/// Threading: call it while this process has no other threads (see hardware::read_gpus()).
[[nodiscard]] Result<hardware::Profile> probe(const ProbeOptions& options);

/// Returns the facts about this machine with the rates that probe() measured earlier; it measures nothing.
/// Returns nullopt when this machine was never measured as it is now, or only while other programs used the
/// processors.
/// Threading: call it while this process has no other threads (see hardware::read_gpus()).
[[nodiscard]] std::optional<hardware::Profile> known(const ProbeOptions& options);

}  // namespace brimful::probe
