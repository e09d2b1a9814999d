#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "model/gguf_reader.h"

/// The format of the fuzzer's input: the headers of the parts of a model, with kPartMark between them. The
/// input has no weights: each part gets the size that its header claims, or is read as a file whose weights
/// are missing.
namespace brimful::fuzz {

inline constexpr std::string_view kPartMark = "--PART--";
/// The most parts of a model.
inline constexpr std::size_t kMaxParts = 3;

/// One part of a model.
struct Part {
  /// The header, perhaps with bytes after it.
  std::span<const std::byte> bytes;
  /// The size of the part's file: up to the end of its last tensor, or up to the end of `bytes`.
  std::uint64_t file_size = 0;
};

/// Divides an input into at most kMaxParts parts. The last one holds the rest, with the marks in it.
/// Lifetime: the result points into `input`.
[[nodiscard]] std::vector<std::span<const std::byte>> split_input(std::span<const std::byte> input);

/// Parses a header as that of the largest possible file, so that no tensor lies outside the file.
[[nodiscard]] Result<std::variant<model::GgufHeader, model::NeedMore>> parse_unbounded(
    std::span<const std::byte> bytes);

}  // namespace brimful::fuzz
