#pragma once

#include <ggml.h>

#include <string>
#include <vector>

#include "hardware/profile.h"
#include "model/model_profile.h"

namespace brimful::plan {

/// In which layout the host keeps weights that may be sent to a device for batches. ggml-cpu multiplies
/// faster with some types in a layout of its own. Such weights are turned back to the file's layout when they
/// are sent.
struct HostLayout {
  /// The types of weights that keep the file's layout all the same.
  std::vector<ggml_type> in_file_order;
  /// The reasons, one line for each of these types.
  std::vector<std::string> notes;
};

/// The most threads that turn weights back for one device.
inline constexpr int kMostTurningThreads = 4;

/// The number of threads that turn weights back as fast as a link of `link_bytes_per_s` sends them, but at
/// most kMostTurningThreads, and one less than the cores compute with. `bytes_per_s`: the rate of one thread.
/// At least 1. Pure.
[[nodiscard]] int turning_threads(double bytes_per_s, double link_bytes_per_s, int threads);

/// The layouts on a machine with these rates, where weights cross a link of `link_bytes_per_s`. Pure.
/// A type of the model keeps the file's layout
/// - where a decode pass over it takes at most 3% less time in ggml's layout: that saves too little;
/// - or where a pass for which it is sent loses more time than a decode pass saves. Formula, for each byte:
///   1 / (n * turn back rate) - 1 / link rate > 1 / decode rate in the file's layout - 1 / decode rate, with
///   n = turning_threads().
/// A type for which one of these rates was not measured does not.
[[nodiscard]] HostLayout host_layout(const model::ModelProfile& profile, const hardware::Compute& compute,
                                     double link_bytes_per_s);

/// The file's layout for all types of the model.
[[nodiscard]] HostLayout all_in_file_order(const model::ModelProfile& profile);

}  // namespace brimful::plan
