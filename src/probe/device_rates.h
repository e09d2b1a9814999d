#pragma once

#include <ggml-backend.h>

#include <vector>

#include "base/result.h"
#include "hardware/profile.h"

namespace brimful::probe {

/// Measures the rate of large copies from host memory to a device with memory of its own, in bytes/s. The
/// host memory is pinned when the device can do that.
/// Errors: kBudgetExceeded when one side has no room for the copy; kInternal when the device cannot be
/// started.
/// Blocks: for about a second. Holds: 64 MiB on the device and 64 MiB in host memory.
[[nodiscard]] Result<double> host_to_device_rate(ggml_backend_dev_t device);

/// Measures the copies to each device, and writes the rate into the entry of `gpus` with the device's name.
/// Devices with the same name get different entries. A device without an entry gets a new one at the end.
/// The rate of a device that cannot be measured stays unset.
/// Errors: the first error of host_to_device_rate(); the other devices are measured all the same.
[[nodiscard]] Status measure_links(const std::vector<ggml_backend_dev_t>& devices,
                                   std::vector<hardware::Gpu>& gpus);

}  // namespace brimful::probe
