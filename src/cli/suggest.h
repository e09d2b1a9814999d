#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace brimful::cli {

/// Number of single steps from `a` to `b`: insert, remove or replace a character, or swap two neighbours.
/// Upper and lower case count as equal.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The name that a person most likely means by `word`. Empty if no name is near enough: a third of the
/// characters, at least one and at most three, may differ. A word that begins one name only means that name.
[[nodiscard]] std::optional<std::string> nearest(std::string_view word, std::span<const std::string> names);

/// `; do you mean 'NAME'?`, or an empty text if no name is near.
[[nodiscard]] std::string suggestion(std::string_view word, std::span<const std::string> names);

}  // namespace brimful::cli
