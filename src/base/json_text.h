#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"

namespace brimful {

/// The default limit on how many levels of arrays and objects may lie in one another. The code that processes
/// JSON is recursive, with one call for each level, so the limit bounds its stack.
inline constexpr int kDeepestJson = 256;

/// The largest number of levels of arrays and objects in a JSON schema.
inline constexpr int kDeepestSchema = 256;

/// Parses JSON that comes from outside: from a file, a flag, a request or another process. The whole text
/// must be one JSON value. The function also refuses bytes that are not UTF-8, numbers that a double cannot
/// hold (1e400), and values that are nested more than `deepest` levels deep.
/// Cost: two walks over the text. The first one checks the text and builds nothing, so a refused text takes
/// no memory. The result takes about 40 bytes for each value, plus the strings in it.
/// Errors: kInvalidArgument. The message has no subject, so that the caller can put the name of the source
/// in front. It gives the place as a byte, or as a line and a column when the text has several lines; all of
/// them count from 1.
[[nodiscard]] Result<nlohmann::json> parse_json(std::string_view text, int deepest = kDeepestJson);

/// Does the same as parse_json(), and keeps the members of objects in the order of the text.
[[nodiscard]] Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text,
                                                                int deepest = kDeepestJson);

}  // namespace brimful
