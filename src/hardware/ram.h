#pragma once

#include <filesystem>

#include "base/result.h"
#include "hardware/profile.h"

namespace brimful::hardware {

/// Reads the facts about this machine's memory. The rates stay 0. `root` stands before /proc and /sys; tests
/// give a recorded tree.
/// Errors: kIo when /proc cannot be read.
[[nodiscard]] Result<Ram> read_ram(const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
