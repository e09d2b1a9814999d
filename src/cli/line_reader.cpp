#include "cli/line_reader.h"

#include <fmt/format.h>
#include <histedit.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstring>
#include <optional>
#include <type_traits>
#include <utility>

#include "cli/key_decoder.h"
#include "cli/terminal_mode.h"

namespace brimful::cli {
namespace {

constexpr std::size_t kShortestLimit = 64 * 1024;  // The smallest limit for a line, in bytes.
constexpr std::size_t kBytesPerToken = 4;  // The mean bytes of text in a token, as with most tokenizers.
constexpr int kHistoryEntries = 64;
constexpr std::size_t kLongestHistoryEntry = 8 * 1024;  // In bytes. Longer texts are not kept.
// libedit holds a line, and the texts for undo, redo and paste, as wchar_t in buffers whose sizes are powers
// of two.
constexpr std::size_t kEditorBytesPerByte = 4 * 2 * sizeof(wchar_t);

constexpr const char* kBracketedPasteOn = "\033[?2004h";
constexpr const char* kBracketedPasteOff = "\033[?2004l";

/// libedit asks the C library how wide a character is and how it is written. As long as this object exists,
/// the C library answers as for UTF-8 in this thread.
class Utf8Scope {
 public:
  explicit Utf8Scope(locale_t locale) : before_(::uselocale(locale)) {}
  ~Utf8Scope() { ::uselocale(before_); }
  Utf8Scope(const Utf8Scope&) = delete;
  Utf8Scope& operator=(const Utf8Scope&) = delete;

 private:
  locale_t before_;
};

struct CloseLocale {
  void operator()(locale_t locale) const { ::freelocale(locale); }
};
struct CloseEditor {
  void operator()(EditLine* editor) const { ::el_end(editor); }
};
struct CloseHistory {
  void operator()(HistoryW* history) const { ::history_wend(history); }
};
struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

/// Reads lines from a pipe or a file.
class PlainReader final : public LineReader {
 public:
  PlainReader(Wait wait, std::size_t longest) : wait_(std::move(wait)), longest_(longest) {}

  Result<Line> read(std::string_view) override {
    bool too_long = false;
    for (;;) {
      const std::size_t newline = typed_.find('\n');
      if (newline != std::string::npos) {
        std::string line = typed_.substr(0, newline);
        typed_.erase(0, newline + 1);
        if (line.ends_with('\r')) line.pop_back();
        if (too_long || line.size() > longest_) return Line{Line::Kind::kTooLong, {}};
        return Line{Line::Kind::kText, std::move(line)};
      }
      if (typed_.size() > longest_) {
        too_long = true;
        typed_.clear();
      }
      if (ended_) {  // The last line may have no newline.
        std::string line = std::exchange(typed_, {});
        if (too_long) return Line{Line::Kind::kTooLong, {}};
        return line.empty() ? Line{} : Line{Line::Kind::kText, std::move(line)};
      }
      BRIMFUL_TRY(const bool readable, wait_());
      if (!readable) return Line{Line::Kind::kGivenUp, {}};
      std::array<char, 4096> piece{};
      const ssize_t got = ::read(STDIN_FILENO, piece.data(), piece.size());
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got < 0)
        return fail(ErrorCode::kIo, fmt::format("standard input cannot be read: {}", std::strerror(errno)));
      ended_ = got == 0;
      typed_.append(piece.data(), static_cast<std::size_t>(got));
    }
  }
  void remember(const std::string&) override {}
  void redraw() override {}
  void redraw_if_asked() override {}
  [[nodiscard]] bool is_terminal() const override { return false; }

 private:
  const Wait wait_;
  const std::size_t longest_;
  std::string typed_;  // The bytes that were read and not used yet.
  bool ended_ = false;
};

/// Reads lines from a person at a terminal, with libedit.
class TerminalReader final : public LineReader {
 public:
  TerminalReader(Wait wait, std::size_t longest)
      : wait_(std::move(wait)), longest_(longest), keys_(longest) {}

  Status open() {
    utf8_.reset(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr));
    if (!utf8_) return fail(ErrorCode::kIo, "the C library has no locale C.UTF-8");
    if (::isatty(STDERR_FILENO) == 0) {
      opened_screen_.reset(std::fopen("/dev/tty", "we"));
      screen_ = opened_screen_.get();
    }
    if (screen_ == nullptr)
      return fail(ErrorCode::kIo, fmt::format("/dev/tty cannot be opened: {}", std::strerror(errno)));
    BRIMFUL_TRY(mode_, TerminalMode::enter(kBracketedPasteOn, kBracketedPasteOff));
    const Utf8Scope scope(utf8_.get());
    const int screen = ::fileno(screen_);
    editor_.reset(::el_init_fd("brimful", stdin, screen_, screen_, STDIN_FILENO, screen, screen));
    history_.reset(::history_winit());
    if (!editor_ || !history_) return fail(ErrorCode::kIo, "the line editor cannot be started");
    configure();
    return {};
  }

  Result<Line> read(std::string_view prompt) override {
    const Utf8Scope scope(utf8_.get());
    prompt_ = std::wstring(prompt.begin(), prompt.end());
    given_up_ = too_long_ = false;
    error_.reset();
    in_line_ = true;
    int count = 0;
    // Otherwise libedit would show the prompt first, and the terminal itself would edit keys that are typed
    // at once.
    ::el_wset(editor_.get(), EL_PREP_TERM, 1);
    const wchar_t* const line = ::el_wgets(editor_.get(), &count);
    in_line_ = false;
    if (error_) return std::unexpected(*error_);
    if (line == nullptr || count <= 0) ::el_reset(editor_.get());
    if (keys_.lost() || too_long_) {
      fmt::print(screen_, "\n");
      return Line{Line::Kind::kTooLong, {}};
    }
    if (given_up_) return Line{Line::Kind::kGivenUp, to_utf8(unfinished_)};
    if (line == nullptr || count <= 0) {
      fmt::print(screen_, "\n");
      return Line{};
    }
    std::wstring_view text(line, static_cast<std::size_t>(count));
    if (text.ends_with(L'\n') || text.ends_with(L'\r')) text.remove_suffix(1);
    return Line{Line::Kind::kText, to_utf8(text)};
  }

  void remember(const std::string& text) override {
    if (text.empty() || text.size() > kLongestHistoryEntry) return;
    KeyDecoder decoder(text.size());
    decoder.feed(text);
    std::wstring wide;
    while (const auto character = decoder.next()) wide += *character;
    const Utf8Scope scope(utf8_.get());
    HistEventW event{};
    ::history_w(history_.get(), &event, H_ENTER, wide.c_str());
  }

  void redraw() override {
    if (!in_line_) return;
    const Utf8Scope scope(utf8_.get());
    ::el_wset(editor_.get(), EL_REFRESH);
  }

  void redraw_if_asked() override {
    if (!TerminalMode::redraw_asked() || !in_line_) return;
    const Utf8Scope scope(utf8_.get());
    ::el_resize(editor_.get());
    ::el_wset(editor_.get(), EL_REFRESH);
  }

  [[nodiscard]] bool is_terminal() const override { return true; }

 private:
  static TerminalReader& of(EditLine* editor) {
    void* self = nullptr;
    ::el_wget(editor, EL_CLIENTDATA, &self);
    return *static_cast<TerminalReader*>(self);
  }

  void configure() {
    EditLine* const e = editor_.get();
    HistEventW event{};
    ::history_w(history_.get(), &event, H_SETSIZE, kHistoryEntries);
    ::history_w(history_.get(), &event, H_SETUNIQUE, 1);
    ::el_wset(e, EL_CLIENTDATA, this);
    ::el_wset(e, EL_SIGNAL, 0);
    ::el_wset(e, EL_EDITOR, L"emacs");
    ::el_wset(e, EL_HIST, ::history_w, history_.get());
    // Otherwise libedit would let the terminal edit and echo between two lines, and a Ctrl-D typed then
    // would be lost.
    ::el_wset(e, EL_SETTY, L"-x", L"-icanon", L"-echo", L"-iexten", nullptr);
    ::el_wset(
        e, EL_GETCFN, +[](EditLine* editor, wchar_t* out) { return of(editor).get_character(*out); });
    ::el_wset(
        e, EL_PROMPT, +[](EditLine* editor) { return of(editor).prompt_.data(); });
    ::el_wset(
        e, EL_ADDFN, L"brimful-paste", L"Insert what was pasted",
        +[](EditLine* editor, wint_t) { return of(editor).insert(of(editor).keys_.take_paste()); });
    ::el_wset(
        e, EL_ADDFN, L"brimful-newline", L"Begin another line of the same message",
        +[](EditLine* editor, wint_t) { return of(editor).insert(L"\n"); });
    bind(L"^^", L"brimful-paste");
    bind(L"\\e\\r", L"brimful-newline");  // Alt-Enter.
    bind(L"\\e\\n", L"brimful-newline");
    bind(L"^R", L"em-inc-search-prev");
    bind(L"^W", L"ed-delete-prev-word");
    bind(L"\\e[3~", L"ed-delete-next-char");
    bind(L"\\e[1~", L"ed-move-to-beg");
    bind(L"\\e[4~", L"ed-move-to-end");
    bind(L"\\e[H", L"ed-move-to-beg");
    bind(L"\\e[F", L"ed-move-to-end");
    bind(L"\\eOH", L"ed-move-to-beg");
    bind(L"\\eOF", L"ed-move-to-end");
    bind(L"\\e[1;5C", L"em-next-word");
    bind(L"\\e[1;5D", L"ed-prev-word");
  }

  void bind(const wchar_t* key, const wchar_t* command) {
    ::el_wset(editor_.get(), EL_BIND, key, command, nullptr);
  }

  /// Reads a character for libedit. Returns 1 with a character, and -1 when the line ends without one.
  int get_character(wchar_t& out) {
    for (;;) {
      if (const auto character = keys_.next()) {
        out = *character;
        const LineInfoW* const line = ::el_wline(editor_.get());
        too_long_ = too_long_ || static_cast<std::size_t>(line->lastchar - line->buffer) > longest_;
        if (!too_long_ || out < 0x20) return 1;
        continue;  // The line is full. Only keys that edit are still accepted.
      }
      const Result<bool> readable = wait_();
      if (!readable) {
        error_ = readable.error();
        return -1;
      }
      if (!*readable) {
        given_up_ = true;
        const LineInfoW* const line = ::el_wline(editor_.get());
        unfinished_.assign(line->buffer, line->lastchar);
        return -1;
      }
      std::array<char, 4096> piece{};
      const ssize_t got = ::read(STDIN_FILENO, piece.data(), piece.size());
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got <= 0) return -1;  // The terminal is gone.
      keys_.feed({piece.data(), static_cast<std::size_t>(got)});
    }
  }

  unsigned char insert(const std::wstring& text) {
    const LineInfoW* const line = ::el_wline(editor_.get());
    if (static_cast<std::size_t>(line->lastchar - line->buffer) + text.size() > longest_) {
      too_long_ = true;
      return CC_EOF;  // This ends the line; read() reports why.
    }
    if (text.empty() || ::el_winsertstr(editor_.get(), text.c_str()) == 0) return CC_REFRESH;
    return CC_ERROR;
  }

  const Wait wait_;
  const std::size_t longest_;
  KeyDecoder keys_;
  std::wstring prompt_;
  std::unique_ptr<std::remove_pointer_t<locale_t>, CloseLocale> utf8_;
  std::unique_ptr<std::FILE, CloseFile> opened_screen_;
  std::FILE* screen_ = stderr;
  std::unique_ptr<TerminalMode> mode_;
  std::unique_ptr<HistoryW, CloseHistory> history_;
  // The editor is destroyed first, because it restores the mode that it found.
  std::unique_ptr<EditLine, CloseEditor> editor_;
  bool in_line_ = false;
  bool given_up_ = false;
  std::wstring unfinished_;  // The text that was typed when the wait was given up.
  bool too_long_ = false;
  std::optional<Error> error_;
};

}  // namespace

std::size_t LineReader::longest_line(std::size_t tokens) {
  return std::max(kShortestLimit, kBytesPerToken * tokens);
}

Bytes LineReader::memory(std::size_t longest_line) {
  constexpr std::size_t kHistory = kHistoryEntries * kLongestHistoryEntry * sizeof(wchar_t);
  return Bytes{longest_line * kEditorBytesPerByte + kHistory};
}

Result<std::unique_ptr<LineReader>> LineReader::create(Wait wait, std::size_t longest_line) {
  if (::isatty(STDIN_FILENO) == 0) return std::make_unique<PlainReader>(std::move(wait), longest_line);
  auto out = std::make_unique<TerminalReader>(std::move(wait), longest_line);
  BRIMFUL_TRY_VOID(out->open());
  return out;
}

}  // namespace brimful::cli
