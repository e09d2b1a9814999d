#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"

namespace brimful {

inline constexpr int kDeepestJson = 256;    ///< levels of a request: what reads it calls itself for each
inline constexpr int kDeepestSchema = 256;  ///< levels of a JSON schema

/// Reads JSON that comes from outside: from a file, a flag, a request, another process. The whole text has to
/// be one value. Refused, too: bytes that are no UTF-8, numbers that no double holds (1e400), and more than
/// `deepest` levels. Cost: one walk over the text; memory: about 40 bytes for each value, and the texts in
/// it. Errors: kInvalidArgument, without a prefix: the place is a byte, or a line and a column where there
/// are lines.
[[nodiscard]] Result<nlohmann::json> parse_json(std::string_view text, int deepest = kDeepestJson);

/// The same, with the members of objects in the order in which they are written.
[[nodiscard]] Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text,
                                                                int deepest = kDeepestJson);

}  // namespace brimful
