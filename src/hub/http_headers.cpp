#include "hub/http_headers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace brimful::hub {
namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// Removes the text before `mark` together with the mark, and returns the text. When there is no mark, it
/// removes and returns everything.
std::string_view take_until(std::string_view& text, char mark) {
  const std::size_t at = std::min(text.find(mark), text.size());
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return taken;
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > INT64_MAX) return std::nullopt;
  return value;
}

std::string_view trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::optional<ContentRange> parse_content_range(std::string_view value) {
  value = trim(value);
  if (lower(take_until(value, ' ')) != "bytes") return std::nullopt;
  const auto first = parse_number(trim(take_until(value, '-')));
  const auto last = parse_number(trim(take_until(value, '/')));
  const std::string_view total = trim(value);
  if (!first || !last || *last < *first) return std::nullopt;
  ContentRange range{.first = *first, .last = *last, .total = parse_number(total)};
  if (total != "*" && (!range.total || *range.total <= *last)) return std::nullopt;
  return range;
}

std::string next_page(std::string_view link) {
  while (!link.empty()) {
    take_until(link, '<');
    const std::string_view address = take_until(link, '>');
    const std::string_view parameters = take_until(link, ',');
    const std::string text = lower(parameters);
    if (text.contains("rel=\"next\"") || text.contains("rel=next")) return std::string(address);
  }
  return {};
}

int parse_status(std::string_view line) {
  take_until(line, ' ');
  return static_cast<int>(std::min<std::uint64_t>(parse_number(trim(line).substr(0, 3)).value_or(0), 999));
}

std::string percent_encoded(std::string_view path) {
  std::string out;
  for (const char c : path) {
    const bool plain = is_letter_or_digit(c) || std::string_view("-._~/").contains(c);
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string shown(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  std::string out;
  if (const std::size_t scheme = url.find("://"); scheme != std::string_view::npos) {
    const std::size_t host = scheme + 3;
    const std::size_t login = url.substr(0, url.find('/', host)).rfind('@');
    out = url.substr(0, host);
    url.remove_prefix(login == std::string_view::npos || login < host ? host : login + 1);
  }
  for (const char c : url) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  return out;
}

}  // namespace brimful::hub
