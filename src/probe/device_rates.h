#pragma once

#include <ggml-backend.h>

#include <vector>

#include "base/result.h"
#include "hardware/profile.h"

namespace brimful::probe {

/// How fast large copies arrive on a device with memory of its own, from pinned memory where the device has
/// such: bytes/s. Blocks: for about a second. Takes 64 MiB there and here.
/// Errors: kBudgetExceeded where there is no room for that; kInternal where the device cannot be started.
[[nodiscard]] Result<double> host_to_device_rate(ggml_backend_dev_t device);

/// Measures each device, and enters the rate for the GPU of that name, one device each; a device that
/// no driver has named yet becomes a GPU of its own. Where one cannot be measured its rate stays absent.
/// Errors: the first of these.
[[nodiscard]] Status measure_links(const std::vector<ggml_backend_dev_t>& devices,
                                   std::vector<hardware::Gpu>& gpus);

}  // namespace brimful::probe
