#pragma once

#include <filesystem>

#include "base/result.h"
#include "model/model_profile.h"
#include "tier/experts/expert_heat.h"

namespace brimful::engine {

/// Remembers, in a small private file for each model, how much its experts were used. A model is known by the
/// fingerprint of its headers. What a file says is a hint about the order of reads: whatever it says, the
/// tokens are the same.
class ExpertHeatFile {
 public:
  /// Files lie in `folder`, which need not exist.
  explicit ExpertHeatFile(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// Returns what earlier starts of the model left; empty where there is no file, and for a model without
  /// experts. From now on, write() is about this model. Errors: kCorrupt for a file that is damaged, too
  /// large, or of another kind; those of header_fingerprint().
  [[nodiscard]] Result<tier::ExpertHeat> read(const model::ModelProfile& profile);
  /// Replaces the file of the model, in one step. It needs hardly any memory, because the budget may be full.
  /// Does nothing where no expert was used, and before read(). Errors: those of replace_file().
  [[nodiscard]] Status write(const tier::ExpertHeat& heat) const;

 private:
  const std::filesystem::path folder_;
  // Empty: no model was read, or it has no experts.
  std::filesystem::path file_;
};

}  // namespace brimful::engine
