#pragma once

#include <cstdint>
#include <vector>

namespace brimful::engine {

// Devices record the graph of each number of tokens, which takes memory. So where devices compute, drafts
// have few lengths: 1, 3, 7 and so on, and the longest one.

/// Where devices are used, passes have room for this number of results, whether there are drafts or not: it
/// has a part in what lies where, and so in the bits of every token. It is that of the longest draft that
/// nobody asks for.
inline constexpr std::uint32_t kResultsOfDraft = 16;

/// The lengths of drafts where the longest has `longest` tokens, the shortest first. Empty for 0. Pure.
[[nodiscard]] std::vector<std::uint32_t> draft_lengths(std::uint32_t longest);
/// The longest of these lengths that is at most `wanted`; 0 where there is none. Pure.
[[nodiscard]] std::uint32_t draft_length_within(std::uint32_t longest, std::uint32_t wanted);

}  // namespace brimful::engine
