#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/model_profile.h"
#include "quantise/importance.h"
#include "quantise/kl_meter.h"
#include "quantise/recipe.h"

namespace brimful::quantise {

/// One type that a tensor could have, and what it costs.
struct Candidate {
  ggml_type type = GGML_TYPE_F32;
  std::uint64_t bytes = 0;
  /// The squared error of the weights, divided by the sum of their squares; columns count as the importance
  /// matrix says. Measured on a sample of rows. 0 for the source's own type.
  double error = 0;
};

/// What is known about one tensor that can be quantised.
struct TensorLosses {
  std::size_t source = 0;  ///< Index into ModelProfile::tensors.
  std::vector<Candidate> candidates;
  /// The divergence (nats per token) of the model's predictions that a relative error of 1 in this tensor
  /// alone would cost. For small errors the divergence is proportional to the error, and that of several
  /// tensors is the sum of theirs: the linearity theorem of HIGGS (Malinovskii and others, 2024).
  double sensitivity = 0;
  /// Whether the sensitivity was measured; otherwise it is the usual one of a tensor of this role.
  bool measured = false;
};

/// What the measurements are made with.
struct LossOptions {
  unsigned threads = 1;
  /// The meter of sensitivities; null: they are taken from the tensors' roles.
  KlMeter* meter = nullptr;
  /// The most sensitivities that are measured. Where the model has more tensors, tensors of the same role in
  /// neighbouring layers are measured together.
  std::size_t most_measurements = 256;
  /// The only types that are candidates; empty: all that ggml can make.
  std::vector<ggml_type> types;
  /// Where each measurement is noted, so that an interrupted run goes on.
  std::filesystem::path journal;
  /// Called after each step with the number of steps that are done and of all steps.
  std::function<void(std::size_t done, std::size_t all)> progress;
};

/// A bound from below of the bytes of all tensors with their padding, whatever is measured: each tensor that
/// `recipe` quantises in the smallest type that its rows can take. Pure.
[[nodiscard]] std::uint64_t least_tensor_bytes(const model::ModelProfile& profile, const Recipe& recipe,
                                               const std::vector<ggml_type>& only);

/// Measures what each type would cost each tensor that `recipe` quantises. `importance` has columns for
/// every matrix (add_uniform()); for tensors in Importance::uniform, only types that llama.cpp makes without
/// an importance matrix are candidates. Errors: kIo, kCorrupt, kInternal.
[[nodiscard]] Result<std::vector<TensorLosses>> measure_losses(const model::ModelProfile& profile,
                                                               const Recipe& recipe,
                                                               const Importance& importance,
                                                               const LossOptions& options);

}  // namespace brimful::quantise
