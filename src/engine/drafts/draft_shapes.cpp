#include "engine/drafts/draft_shapes.h"

namespace brimful::engine {

std::vector<std::uint32_t> draft_lengths(std::uint32_t longest) {
  std::vector<std::uint32_t> out;
  for (std::uint32_t length = 1; length < longest; length = 2 * length + 1) out.push_back(length);
  if (longest > 0) out.push_back(longest);
  return out;
}

std::uint32_t draft_length_within(std::uint32_t longest, std::uint32_t wanted) {
  std::uint32_t out = 0;
  for (const std::uint32_t length : draft_lengths(longest)) {
    if (length <= wanted) out = length;
  }
  return out;
}

}  // namespace brimful::engine
