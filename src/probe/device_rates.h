#pragma once

#include <ggml-backend.h>

#include <vector>

#include "base/result.h"
#include "hardware/profile.h"

namespace brimful::probe {

/// The rates of large copies from host memory to a device, in bytes per second.
struct LinkRates {
  /// While nothing else reads the host's memory.
  double copies_bytes_per_s = 0;
  /// While threads read the host's memory as fast as they can, and the rate of their reads.
  double copies_beside_reads_bytes_per_s = 0;
  double reads_beside_copies_bytes_per_s = 0;
};

/// Measures the copies to a device with memory of its own, alone and beside `threads` threads that read. The
/// host memory is pinned when the device can do that.
/// Errors: kBudgetExceeded when one side has no room for the copy; kInternal when the device cannot be
/// started; those of MemoryReaders::start().
/// Blocks: for about two seconds. Holds: 64 MiB on the device and 320 MiB in host memory.
[[nodiscard]] Result<LinkRates> link_rates(ggml_backend_dev_t device, int threads);

/// Measures the copies to each device, and writes the rates into the entry of `gpus` with the device's name.
/// Devices with the same name get different entries. A device without an entry gets a new one at the end.
/// The rates of a device that cannot be measured stay unset.
/// Errors: the first error of link_rates(); the other devices are measured all the same.
[[nodiscard]] Status measure_links(const std::vector<ggml_backend_dev_t>& devices, int threads,
                                   std::vector<hardware::Gpu>& gpus);

}  // namespace brimful::probe
