#pragma once

#include <span>
#include <string_view>

namespace brimful::hardware {

/// A file of the folder hardware/, with its text at the time when the program was built.
struct PresetText {
  std::string_view file;
  std::string_view text;
};

/// All preset files, which are built into the program.
[[nodiscard]] std::span<const PresetText> preset_texts();

}  // namespace brimful::hardware
