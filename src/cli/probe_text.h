#pragma once

#include <string>

#include "hardware/profile.h"
#include "model/model_profile.h"
#include "probe/probe.h"
#include "session/measure_machine.h"

namespace brimful::cli {

/// How measure_machine() reports its progress on stderr. On a terminal, both draw one line again and again.
/// Elsewhere, kOneLine writes one line before it measures, which says how long it takes and how to avoid it,
/// and kAlways writes a new line every few seconds.
enum class MeasureNews { kOneLine, kAlways };

/// Returns the profile of this machine, and measures what `refresh` asks for. `model` is the model whose
/// disk is measured; null: no disk. Errors and threading: those of probe::probe().
[[nodiscard]] Result<hardware::Profile> measure_machine(const model::ModelProfile* model, int threads,
                                                        probe::Refresh refresh, session::Links links,
                                                        MeasureNews news = MeasureNews::kOneLine);

/// Writes a rate for people, such as `3.20 GiB/s`.
[[nodiscard]] std::string rate_text(double bytes_per_s);

/// Describes a machine for people: facts, rates, and what slows it down.
[[nodiscard]] std::string machine_text(const hardware::Profile& machine);

}  // namespace brimful::cli
