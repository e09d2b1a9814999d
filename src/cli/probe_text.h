#pragma once

#include <string>

#include "hardware/profile.h"
#include "model/model_profile.h"
#include "probe/probe.h"

namespace brimful::cli {

/// Where stderr is a terminal, one line there says what is being measured. kAlways: elsewhere, too, with a
/// line every few seconds.
enum class MeasureNews { kOnTerminal, kAlways };

/// This machine, measured once. `model`: whose disk counts, or null.
[[nodiscard]] Result<hardware::Profile> measure_machine(const model::ModelProfile* model, int threads,
                                                        probe::Refresh refresh,
                                                        MeasureNews news = MeasureNews::kOnTerminal);

/// `3.20 GiB/s`
[[nodiscard]] std::string rate_text(double bytes_per_s);

/// A machine for people: facts, rates, and what limits it.
[[nodiscard]] std::string machine_text(const hardware::Profile& machine);

}  // namespace brimful::cli
