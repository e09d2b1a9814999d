#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace brimful::cli {

/// Turns the bytes of a terminal into characters for the line editor. It knows UTF-8, and the marks that a
/// terminal puts around a text that is pasted (bracketed paste). A paste becomes one character, kPaste,
/// whatever is in it: its text waits until take_paste() is called.
class KeyDecoder {
 public:
  /// What stands for a paste. No key sends it: a terminal sends Ctrl-^ only where a person presses it.
  static constexpr wchar_t kPaste = 0x1E;

  /// A paste, and characters that nobody took yet, hold at most `longest` bytes. What is more is lost, and
  /// lost() says so.
  explicit KeyDecoder(std::size_t longest) : longest_(longest) {}

  void feed(std::string_view bytes);
  /// The next character. Empty if it is not complete yet: feed() more.
  [[nodiscard]] std::optional<wchar_t> next();
  /// The text of the oldest paste whose kPaste came out of next(). Lines end with '\n'; other control
  /// characters than the tab are left out.
  [[nodiscard]] std::wstring take_paste();
  /// Whether text was lost since this was last asked, because it was longer than `longest`.
  [[nodiscard]] bool lost();

 private:
  void take_pasted(std::string_view bytes);
  void end_paste();

  const std::size_t longest_;
  std::string bytes_;  // not decoded yet
  std::string pasted_;
  bool pasting_ = false;
  bool lost_ = false;
  std::deque<std::wstring> pastes_;
  std::size_t to_announce_ = 0;  // pastes whose kPaste did not come out yet
};

/// `text` as UTF-8.
[[nodiscard]] std::string to_utf8(std::wstring_view text);

}  // namespace brimful::cli
