#pragma once

#include <ggml.h>

#include <vector>

#include "probe/probe.h"

namespace brimful::probe {

/// Returns the types of weights to measure: those of the model's matrices. Without a model they are all
/// types, or with kUsualTypes those of most files that people download.
[[nodiscard]] std::vector<ggml_type> types_to_measure(const ProbeOptions& options);

/// Returns what has to be measured. `known` holds the rates that were measured before; null when there are
/// none.
[[nodiscard]] Refresh refresh_of(const ProbeOptions& options, const hardware::Compute* known);

/// Replaces each rate by that of both measurements together, when each did the same work: the harmonic mean.
/// Requires: the rates of types are of the same type, and `other` has a repack rate where `rate` has one.
void average(double& rate, double other);
void average(hardware::KernelRate& rate, const hardware::KernelRate& other);
void average(hardware::Attention& rate, const hardware::Attention& other);

/// Copies the copy rates of `from` to the same cards in `to`, and adds cards that only ggml knows.
void take_over_links(const std::vector<hardware::Gpu>& from, std::vector<hardware::Gpu>& to);

}  // namespace brimful::probe
