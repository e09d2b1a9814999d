#pragma once

#include <string>

#include "hardware/profile.h"
#include "model/model_profile.h"
#include "probe/probe.h"

namespace strata::cli {

/// This machine, measured once; shows what it is doing on a terminal. `model`: whose disk counts, or null.
[[nodiscard]] Result<hardware::Profile> measure_machine(const model::ModelProfile* model, int threads,
                                                        probe::Refresh refresh);

/// `3.20 GiB/s`
[[nodiscard]] std::string rate_text(double bytes_per_s);

/// A machine for people: facts, rates, and what limits it.
[[nodiscard]] std::string machine_text(const hardware::Profile& machine);

}  // namespace strata::cli
