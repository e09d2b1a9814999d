#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// Pure functions over the texts of HTTP.
namespace brimful::hub {

/// `bytes 0-1023/5000`, or `bytes 0-1023/*` where the server does not know the size.
struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> total;
};
[[nodiscard]] std::optional<ContentRange> parse_content_range(std::string_view value);

/// The address behind rel="next" in the value of a Link header; empty where there is none.
[[nodiscard]] std::string next_page(std::string_view link);

/// The number in a status line, `HTTP/1.1 200 OK`; 0 where there is none.
[[nodiscard]] int parse_status(std::string_view line);

/// A number and nothing else.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);

[[nodiscard]] std::string_view trim(std::string_view text);
/// ASCII only, as HTTP's names are.
[[nodiscard]] std::string lower(std::string_view text);

/// A path as part of an address: what is no letter, digit or one of `-._~/` becomes %XX.
[[nodiscard]] std::string percent_encoded(std::string_view path);

/// An address fit for a message: without a login, a query and control bytes.
[[nodiscard]] std::string shown(std::string_view url);

}  // namespace brimful::hub
