#pragma once

#include "hardware/profile.h"
#include "model/model_profile.h"
#include "probe/probe.h"

namespace brimful::session {

/// Whether copies to GPUs are measured. That starts the driver of every GPU that ggml can use.
enum class Links { kMeasure, kLeaveOut };

/// Returns the profile of this machine, and measures what `refresh` asks for. `model` is the model whose disk
/// is measured; null: no disk. `progress` is as ProbeOptions::progress. Errors, blocking and threading: those
/// of probe::probe().
[[nodiscard]] Result<hardware::Profile> measure_machine(
    const model::ModelProfile* model, int threads, probe::Refresh refresh, Links links,
    const std::function<void(std::string_view what, int done, int steps)>& progress);

}  // namespace brimful::session
