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

/// What is measured.
enum class Refresh {
  kNever,        ///< what is not known yet and the model needs; everything where nothing is known
  kMissing,      ///< everything, if the rate of any type of weights is not known yet
  kModelsTypes,  ///< of the kernels only those for the model's types, even if they are known: half a minute
  kUsualTypes,   ///< without a model: only the types of most files, and once, not twice: some seconds
  kAll,          ///< everything, even if it is known: some minutes
};

struct ProbeOptions {
  int threads = 1;
  /// Whose disk is measured; without one the profile has no disk.
  const model::ModelProfile* model = nullptr;
  Refresh refresh = Refresh::kNever;
  bool known_before = false;  ///< set by probe(): this machine was measured before
  std::filesystem::path cache = cache_folder();
  /// ggml's devices with memory of their own, for how fast copies to them are; unset: none. Called where that
  /// is measured, in a process of its own: with kAll, the first time, and as long as a card has no rate.
  std::function<Result<std::vector<ggml_backend_dev_t>>()> devices;
  /// What is being measured, and how many of how many steps are done.
  std::function<void(std::string_view what, int done, int steps)> progress;
};

/// What this machine is and how fast. Facts are read each time; rates are measured once and kept in the cache
/// for this hardware, number of threads and disk: where any of these changes, they are measured again.
/// Rates that were measured while other programs used the processors are marked (Profile::disturbed_by), and
/// measured again by the first call that finds the processors free.
/// Blocks: about a minute when it measures. Errors: kIo, kInternal, kBudgetExceeded where there is no memory
/// to measure in. A cache that cannot be written is no error.
[[nodiscard]] Result<hardware::Profile> probe(const ProbeOptions& options);

/// What probe() found the last time on this machine as it is now; nothing is measured. Nothing where it never
/// was, or only while other programs used the processors. Call it while this process has no other threads
/// (hardware::read_gpus).
[[nodiscard]] std::optional<hardware::Profile> known(const ProbeOptions& options);

}  // namespace brimful::probe
