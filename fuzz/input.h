#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "model/gguf_reader.h"

/// What the fuzzer's bytes mean: the headers of the parts of a model, with kPartMark between them. No
/// weights: each part is given the size that its header claims, or is read as a file without them.
namespace brimful::fuzz {

inline constexpr std::string_view kPartMark = "--PART--";
inline constexpr std::size_t kMaxParts = 3;

struct Part {
  std::span<const std::byte> bytes;
  std::uint64_t file_size = 0;  ///< up to the end of the last tensor, or of the bytes
};

/// At most kMaxParts; the last one holds the rest. Lifetime: that of `input`.
[[nodiscard]] std::vector<std::span<const std::byte>> split_input(std::span<const std::byte> input);

/// The file as large as a file can be, so that no tensor lies outside it.
[[nodiscard]] Result<std::variant<model::GgufHeader, model::NeedMore>> parse_unbounded(
    std::span<const std::byte> bytes);

}  // namespace brimful::fuzz
