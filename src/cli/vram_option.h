#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace strata::cli {

/// One part of --vram.
struct VramPart {
  std::string text;                 ///< as it was given
  std::optional<std::string> name;  ///< `CUDA0`; nothing: the next device
  Bytes size;
};

/// SIZE, or NAME=SIZE for each device, with commas between. Errors: kInvalidArgument.
[[nodiscard]] Result<std::vector<VramPart>> parse_vram(const std::string& text);

}  // namespace strata::cli
