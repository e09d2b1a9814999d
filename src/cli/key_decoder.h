#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace brimful::cli {

/// Decodes the bytes of a terminal into characters for the line editor. It knows UTF-8, and the marks that a
/// terminal puts around pasted text (bracketed paste). A whole paste becomes the single character kPaste;
/// its text is kept until take_paste() is called. Not thread-safe.
class KeyDecoder {
 public:
  /// The character that stands for a paste: Ctrl-^, which a terminal sends only when a person presses these
  /// keys.
  static constexpr wchar_t kPaste = 0x1E;

  /// `longest` is the most bytes that a paste, or characters that were not taken yet, may have. Bytes beyond
  /// that are dropped, and lost() reports it.
  explicit KeyDecoder(std::size_t longest) : longest_(longest) {}

  /// Adds bytes that were read from the terminal.
  void feed(std::string_view bytes);
  /// Removes and returns the next character. Nullopt when there is none, or when it is not complete yet: the
  /// caller then feeds more bytes.
  [[nodiscard]] std::optional<wchar_t> next();
  /// Returns the text of the oldest paste whose kPaste was returned by next(). Its lines end with '\n'.
  /// Control characters other than the tab are left out. Empty when there is no such paste.
  [[nodiscard]] std::wstring take_paste();
  /// Whether bytes were dropped since the last call, because there were more than `longest`.
  [[nodiscard]] bool lost();

 private:
  void take_pasted(std::string_view bytes);
  void end_paste();

  const std::size_t longest_;
  std::string bytes_;  // The bytes that are not decoded yet.
  std::string pasted_;
  bool pasting_ = false;
  bool lost_ = false;
  std::deque<std::wstring> pastes_;
  std::size_t to_announce_ = 0;  // The number of pastes whose kPaste next() did not return yet.
};

/// Encodes `text` as UTF-8. Code points that do not exist become U+FFFD.
[[nodiscard]] std::string to_utf8(std::wstring_view text);

}  // namespace brimful::cli
