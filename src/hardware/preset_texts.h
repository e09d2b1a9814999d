#pragma once

#include <span>
#include <string_view>

namespace brimful::hardware {

/// A file of hardware/ as it was when this was built.
struct PresetText {
  std::string_view file;
  std::string_view text;
};
[[nodiscard]] std::span<const PresetText> preset_texts();

}  // namespace brimful::hardware
