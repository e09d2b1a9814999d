#include "input.h"

#include <algorithm>

namespace brimful::fuzz {

std::vector<std::span<const std::byte>> split_input(std::span<const std::byte> input) {
  const auto mark = std::as_bytes(std::span(kPartMark));
  std::vector<std::span<const std::byte>> parts;
  while (parts.size() + 1 < kMaxParts) {
    const auto found = std::ranges::search(input, mark);
    if (found.empty()) break;
    const auto size = static_cast<std::size_t>(found.begin() - input.begin());
    parts.push_back(input.first(size));
    input = input.subspan(size + mark.size());
  }
  parts.push_back(input);
  return parts;
}

Result<std::variant<model::GgufHeader, model::NeedMore>> parse_unbounded(std::span<const std::byte> bytes) {
  return model::parse_gguf(bytes, INT64_MAX);
}

}  // namespace brimful::fuzz
