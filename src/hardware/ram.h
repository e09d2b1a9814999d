#pragma once

#include <filesystem>

#include "base/result.h"
#include "hardware/profile.h"

namespace brimful::hardware {

/// The facts of Ram (its rates stay 0: they are measured). `root` stands before /proc and /sys.
/// Errors: kIo when /proc cannot be read.
[[nodiscard]] Result<Ram> read_ram(const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
