#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// Pure functions that parse and write the texts of HTTP.
namespace brimful::hub {

/// The value of the field Content-Range: `bytes 0-1023/5000`, or `bytes 0-1023/*` when the server does not
/// know the size of the file.
struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> total;
};
/// Returns nullopt for a text of another form, or numbers that contradict one another.
[[nodiscard]] std::optional<ContentRange> parse_content_range(std::string_view value);

/// The address with rel="next" in the value of a Link header; empty when there is none.
[[nodiscard]] std::string next_page(std::string_view link);

/// The number in a status line such as `HTTP/1.1 200 OK`; 0 when there is none.
[[nodiscard]] int parse_status(std::string_view line);

/// Parses a text that is a decimal number and nothing else, at most 2^63 - 1. Returns nullopt for other
/// texts.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);

/// Returns `text` without the white space around it.
[[nodiscard]] std::string_view trim(std::string_view text);
/// Returns `text` in lower case. Only ASCII letters change, because HTTP's names are ASCII.
[[nodiscard]] std::string lower(std::string_view text);

/// Encodes a path for an address: every byte but letters, digits and `-._~/` becomes %XX.
[[nodiscard]] std::string percent_encoded(std::string_view path);

/// Returns an address in a form for messages: without a login, a query, a fragment and control characters.
[[nodiscard]] std::string shown(std::string_view url);

}  // namespace brimful::hub
