#include "cli/key_decoder.h"

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <utility>

namespace brimful::cli {
namespace {

constexpr std::string_view kPasteBegins = "\033[200~";
constexpr std::string_view kPasteEnds = "\033[201~";
constexpr wchar_t kReplacement = 0xFFFD;

struct Decoded {
  wchar_t character = 0;
  std::size_t bytes = 0;  // 0 when the character is not complete.
};

std::size_t sequence_length(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return 2;
  if (first >= 0xE0 && first < 0xF0) return 3;
  if (first >= 0xF0 && first < 0xF5) return 4;
  return 0;  // No character begins with this byte.
}

/// Decodes the first character of `text`. For bytes that are not UTF-8 it is U+FFFD with a length of one
/// byte. Requires: `text` is not empty.
Decoded decode(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const std::size_t length = sequence_length(first);
  if (length == 0) return {kReplacement, 1};
  std::uint32_t value = length == 1 ? first : first & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= text.size()) return {};
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xC0U) != 0x80U) return {kReplacement, 1};
    value = (value << 6U) | (byte & 0x3FU);
  }
  const bool too_long = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (too_long || surrogate || value > 0x10FFFF) return {kReplacement, 1};
  return {static_cast<wchar_t>(value), length};
}

/// Returns the length of the longest end of `text` that is a beginning of `mark`.
std::size_t begun_at_end(std::string_view text, std::string_view mark) {
  for (std::size_t length = std::min(text.size(), mark.size() - 1); length > 0; --length) {
    if (text.ends_with(mark.substr(0, length))) return length;
  }
  return 0;
}

bool is_control(wchar_t character) { return character < 0x20 || (character >= 0x7F && character < 0xA0); }

}  // namespace

void KeyDecoder::feed(std::string_view bytes) {
  if (pasting_) {
    take_pasted(bytes);
    return;
  }
  const std::size_t room = longest_ - std::min(longest_, bytes_.size());
  lost_ = lost_ || bytes.size() > room;
  bytes_ += bytes.substr(0, room);
}

void KeyDecoder::take_pasted(std::string_view bytes) {
  pasted_ += bytes;
  if (const std::size_t end = pasted_.find(kPasteEnds); end != std::string::npos) {
    bytes_ = pasted_.substr(end + kPasteEnds.size());
    pasted_.resize(end);
    end_paste();
    return;
  }
  if (pasted_.size() <= longest_) return;
  // The bytes at the end that may be the beginning of the mark are kept.
  const std::string tail = pasted_.substr(pasted_.size() - begun_at_end(pasted_, kPasteEnds));
  pasted_.resize(longest_ - std::min(longest_, tail.size()));
  pasted_ += tail;
  lost_ = true;
}

void KeyDecoder::end_paste() {
  pasting_ = false;
  std::wstring text;
  bool after_return = false;
  for (std::string_view rest = pasted_; !rest.empty();) {
    auto [character, bytes] = decode(rest);
    if (bytes == 0) std::tie(character, bytes) = std::pair(kReplacement, rest.size());
    rest.remove_prefix(bytes);
    const bool second_of_pair = after_return && character == L'\n';  // The second character of "\r\n".
    after_return = character == L'\r';
    if (after_return) character = L'\n';
    if (second_of_pair || (is_control(character) && character != L'\n' && character != L'\t')) continue;
    text += character;
  }
  pasted_ = {};
  pastes_.push_back(std::move(text));
  ++to_announce_;
}

std::optional<wchar_t> KeyDecoder::next() {
  if (bytes_.starts_with(kPasteBegins)) {
    pasting_ = true;
    const std::string rest = std::exchange(bytes_, {}).substr(kPasteBegins.size());
    take_pasted(rest);
  }
  if (to_announce_ > 0) {
    --to_announce_;
    return kPaste;
  }
  const bool may_begin_paste = kPasteBegins.starts_with(bytes_);  // This is also true when bytes_ is empty.
  if (pasting_ || may_begin_paste) return std::nullopt;
  const auto [character, length] = decode(bytes_);
  if (length == 0) return std::nullopt;
  bytes_.erase(0, length);
  return character;
}

std::wstring KeyDecoder::take_paste() {
  if (pastes_.empty()) return {};
  std::wstring out = std::move(pastes_.front());
  pastes_.pop_front();
  return out;
}

bool KeyDecoder::lost() { return std::exchange(lost_, false); }

std::string to_utf8(std::wstring_view text) {
  std::string out;
  const auto tail = [&](std::uint32_t value, unsigned shift) {
    out += static_cast<char>(0x80U | ((value >> shift) & 0x3FU));
  };
  for (const wchar_t character : text) {
    // NOLINTNEXTLINE(bugprone-signed-char-misuse): a wchar_t is no char
    auto value = static_cast<std::uint32_t>(character);
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) value = kReplacement;
    if (value < 0x80) {
      out += static_cast<char>(value);
    } else if (value < 0x800) {
      out += static_cast<char>(0xC0U | (value >> 6U));
      tail(value, 0);
    } else if (value < 0x10000) {
      out += static_cast<char>(0xE0U | (value >> 12U));
      tail(value, 6);
      tail(value, 0);
    } else {
      out += static_cast<char>(0xF0U | (value >> 18U));
      tail(value, 12);
      tail(value, 6);
      tail(value, 0);
    }
  }
  return out;
}

}  // namespace brimful::cli
