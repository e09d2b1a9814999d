#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace brimful::model {

/// A name like `model-00002-of-00003.gguf`.
struct SplitName {
  std::filesystem::path stem;  ///< `model`, with its folder
  std::uint32_t part = 1;      ///< counted from 1
  std::uint32_t parts = 1;

  /// The name of another part.
  [[nodiscard]] std::filesystem::path path_of(std::uint32_t which) const;
};

/// Nothing for a name of another form.
[[nodiscard]] std::optional<SplitName> parse_split_name(const std::filesystem::path& path);

}  // namespace brimful::model
