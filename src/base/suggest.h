#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace brimful {

/// The number of single steps from `a` to `b`. A step inserts, removes or replaces a character, or swaps two
/// neighbours. Upper and lower case count as equal.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The name that a person most likely means by `word`. A word that is the beginning of exactly one name
/// means that name. Nullopt when no name is near enough: a third of the characters, at least one and at most
/// three, may differ.
[[nodiscard]] std::optional<std::string> nearest(std::string_view word, std::span<const std::string> names);

/// The end of a message, `; do you mean 'NAME'?`; empty when no name is near.
[[nodiscard]] std::string suggestion(std::string_view word, std::span<const std::string> names);

}  // namespace brimful
