#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace brimful::model {

/// The name of one part of a split model, such as `model-00002-of-00003.gguf`.
struct SplitName {
  /// The path before the numbers: the folder and `model`.
  std::filesystem::path stem;
  /// The number of this part, from 1 to `parts`.
  std::uint32_t part = 1;
  std::uint32_t parts = 1;

  /// The path of the part with the number `which`, which counts from 1.
  [[nodiscard]] std::filesystem::path path_of(std::uint32_t which) const;
};

/// Takes the name of a part of a split model to pieces. Returns nullopt for a name of another form. Pure.
[[nodiscard]] std::optional<SplitName> parse_split_name(const std::filesystem::path& path);

}  // namespace brimful::model
