#include "base/visible_text.h"

#include <array>
#include <cstdint>
#include <utility>

namespace brimful {
namespace {

constexpr std::string_view kNoUtf8 = "\xef\xbf\xbd";  // U+FFFD

struct Character {
  std::uint32_t code = 0;
  std::size_t bytes = 0;    // The length of the character; 0 where the bytes are not UTF-8.
  bool is_cut_off = false;  // Whether the text ends inside the character.
};

Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return {};
  std::uint32_t code = first & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if (i == text.size()) return {.is_cut_off = true};
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fU);
  }
  constexpr std::array<std::uint32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return {};
  return {code, size};
}

/// Returns whether a character changes the direction of text: U+202A to U+202E and U+2066 to U+2069 set the
/// direction, and U+200E, U+200F and U+061C are invisible direction marks.
bool changes_direction(std::uint32_t code) {
  return (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0x200e ||
         code == 0x200f || code == 0x061c;
}

/// Returns the symbol that Unicode has for a control character in C0 or for DEL. The characters of C1 have no
/// such symbol: they become U+FFFD.
std::string picture(std::uint32_t code) {
  if (code >= 0x80) return std::string(kNoUtf8);
  const std::uint32_t symbol = code == 0x7f ? 0x2421 : 0x2400 + code;
  return {static_cast<char>(0xe0 | symbol >> 12), static_cast<char>(0x80 | (symbol >> 6 & 0x3f)),
          static_cast<char>(0x80 | (symbol & 0x3f))};
}

/// Appends the visible form of `text` to `out`. Returns the number of bytes at the end of `text` that are the
/// beginning of an incomplete character; they are not appended.
std::size_t append_visible(std::string& out, std::string_view text, bool keeps_lines) {
  while (!text.empty()) {
    const Character character = first_character(text);
    if (character.is_cut_off) return text.size();
    if (character.bytes == 0) {
      out += kNoUtf8;
      text.remove_prefix(1);
      continue;
    }
    const std::uint32_t code = character.code;
    const bool is_line = code == '\n' || code == '\t';
    if ((code < 0x20 && !(is_line && keeps_lines)) || (code >= 0x7f && code < 0xa0)) {
      out += picture(code);
    } else if (changes_direction(code)) {
      out += kNoUtf8;
    } else {
      out += text.substr(0, character.bytes);
    }
    text.remove_prefix(character.bytes);
  }
  return 0;
}

std::string visible(std::string_view text, bool keeps_lines) {
  std::string out;
  if (append_visible(out, text, keeps_lines) > 0) out += kNoUtf8;
  return out;
}

}  // namespace

std::string visible_text(std::string_view text) { return visible(text, false); }
std::string visible_lines(std::string_view text) { return visible(text, true); }

std::string VisibleStream::add(std::string_view piece) {
  cut_ += piece;
  std::string out;
  const std::size_t left = append_visible(out, cut_, true);
  cut_.erase(0, cut_.size() - left);
  return out;
}

std::string VisibleStream::rest() { return std::exchange(cut_, {}).empty() ? "" : std::string(kNoUtf8); }

}  // namespace brimful
