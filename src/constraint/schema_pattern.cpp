#include "constraint/schema_pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace brimful::constraint {
namespace {

constexpr char32_t kLast = 0x10ffff;
constexpr std::uint64_t kMostRepetitions = 10'000;

struct Range {
  char32_t first = 0;
  char32_t last = 0;
};

/// A set of characters, as ranges that may overlap.
class CharacterSet {
 public:
  CharacterSet() = default;
  explicit CharacterSet(std::vector<Range> ranges) : ranges_(std::move(ranges)) {}

  void add(const CharacterSet& more) {
    ranges_.insert(ranges_.end(), more.ranges_.begin(), more.ranges_.end());
  }
  [[nodiscard]] CharacterSet inverted() const {
    std::vector<Range> sorted = ranges_;
    std::ranges::sort(sorted, {}, &Range::first);
    CharacterSet out;
    char32_t next = 0;
    for (const Range& range : sorted) {
      if (range.first > next) out.ranges_.push_back({next, range.first - 1});
      next = std::max(next, static_cast<char32_t>(range.last + 1));
    }
    if (next <= kLast) out.ranges_.push_back({next, kLast});
    return out;
  }
  /// The set as a class of a GBNF grammar, without the characters that must be escaped in a JSON string.
  /// Empty when no character is left.
  [[nodiscard]] std::string text() const {
    CharacterSet others = inverted();
    others.add(CharacterSet({{0, 0x1f}, {'"', '"'}, {'\\', '\\'}, {0x7f, 0x7f}, {0xd800, 0xdfff}}));
    std::string out;
    for (const auto& [first, last] : others.inverted().ranges_) {
      out += escaped(first);
      if (last > first) out += fmt::format("-{}", escaped(last));
    }
    return out.empty() ? out : fmt::format("[{}]", out);
  }
  [[nodiscard]] bool has(char32_t character) const {
    return std::ranges::any_of(
        ranges_, [&](const Range& range) { return range.first <= character && character <= range.last; });
  }

 private:
  static std::string escaped(char32_t character) {
    const auto code = static_cast<std::uint32_t>(character);
    if (code < 0x80) return fmt::format("\\x{:02X}", code);
    return code <= 0xffff ? fmt::format("\\u{:04X}", code) : fmt::format("\\U{:08X}", code);
  }

  std::vector<Range> ranges_;
};

const CharacterSet kDigits({{'0', '9'}});
const CharacterSet kWord({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
const CharacterSet kSpace({{'\t', '\r'}, {' ', ' '}, {0xa0, 0xa0}});

/// A pattern for the set inside a JSON string: its characters, and the escapes of those that JSON must
/// escape.
std::string in_json(const CharacterSet& set) {
  constexpr std::pair<char32_t, std::string_view> kEscapes[] = {
      {'"', "\\x22"}, {'\\', "\\x5C"}, {'\b', "b"}, {'\f', "f"}, {'\n', "n"}, {'\r', "r"}, {'\t', "t"}};
  std::string letters;
  for (const auto& [character, letter] : kEscapes) {
    if (set.has(character)) letters += letter;
  }
  std::string plain = set.text();
  if (letters.empty()) return plain;
  const std::string escapes = fmt::format("([\\x5C][{}])", letters);
  return plain.empty() ? escapes : fmt::format("({}|{})", plain, escapes);
}

class Rewriter {
 public:
  explicit Rewriter(std::string_view pattern) : pattern_(pattern) {}

  std::optional<std::string> all() {
    std::string out = alternatives(0);
    if (failed_ || at_ < pattern_.size()) return std::nullopt;
    return fmt::format("^({})$", out);
  }

 private:
  static constexpr int kDeepest = 50;

  [[nodiscard]] bool more() const { return !failed_ && at_ < pattern_.size(); }
  bool take(std::string_view text) {
    if (!pattern_.substr(at_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }
  void give_up() { failed_ = true; }

  /// Reads alternatives until the group ends. Depth 0 is the whole pattern: there, each alternative may begin
  /// and end anywhere in a text unless it is anchored.
  std::string alternatives(int depth) {
    if (depth > kDeepest) give_up();
    std::string out;
    do {
      if (!out.empty()) out += "|";
      out += one_alternative(depth);
    } while (!failed_ && take("|"));
    return out;
  }

  std::string one_alternative(int depth) {
    const std::string anything = in_json(CharacterSet({{0, kLast}})) + "*";
    std::string out;
    if (depth == 0 && !take("^") && !take("\\A")) out = anything;
    bool ends = false;
    while (more() && pattern_[at_] != '|' && pattern_[at_] != ')') {
      if (ends) give_up();
      if (depth == 0 && (take("$") || take("\\Z") || take("\\z"))) {
        ends = true;
      } else {
        out += item(depth);
      }
    }
    if (depth == 0 && !ends) out += anything;
    // The converter's grammar needs something to repeat or to follow. So an empty alternative becomes an
    // empty class.
    return out.empty() ? "([\\x20]{0})" : out;
  }

  /// Reads a character, a class or a group, with its quantifier.
  std::string item(int depth) {
    std::string out;
    if (take("(")) {
      if (take("?") && !take(":")) {
        take("P");  // Python's way of naming a group
        const bool named = take("<") && more() && pattern_[at_] != '=' && pattern_[at_] != '!';
        const std::size_t end = pattern_.find('>', at_);
        if (!named || end == std::string_view::npos) {
          give_up();  // a lookahead, a lookbehind, or flags
          return out;
        }
        at_ = end + 1;
      }
      out = fmt::format("({})", alternatives(depth + 1));
      if (!take(")")) give_up();
    } else {
      const auto set = one_character();
      if (set) out = in_json(*set);
      if (out.empty()) give_up();
    }
    return out + quantifier();
  }

  std::string quantifier() {
    std::string out;
    if (take("*")) {
      out = "*";
    } else if (take("+")) {
      out = "+";
    } else if (take("?")) {
      out = "?";
    } else if (begins_repetition()) {
      out = repetition();
    }
    if (!out.empty() && take("+")) give_up();  // a possessive quantifier, which never gives back what it took
    if (!out.empty()) take("?");               // a lazy quantifier matches the same texts
    return out;
  }

  /// Whether a repetition begins here, including `{2}` and `{,3}` of Python. Any other brace is a character.
  [[nodiscard]] bool begins_repetition() const {
    if (!more() || pattern_[at_] != '{') return false;
    const std::size_t end = pattern_.find_first_not_of("0123456789,", at_ + 1);
    return end != std::string_view::npos && end > at_ + 1 && pattern_[end] == '}';
  }

  std::string repetition() {
    ++at_;
    const auto number = [&]() -> std::optional<std::uint64_t> {
      std::optional<std::uint64_t> out;
      for (; more() && pattern_[at_] >= '0' && pattern_[at_] <= '9' && out.value_or(0) <= kMostRepetitions;
           ++at_)
        out = out.value_or(0) * 10 + static_cast<std::uint64_t>(pattern_[at_] - '0');
      return out;
    };
    const auto least = number();
    const bool range = take(",");
    const auto most = range ? number() : least;
    if (!take("}") || !least || *least > kMostRepetitions || most.value_or(0) > kMostRepetitions ||
        (most && *most < *least)) {
      give_up();
      return {};
    }
    if (!range) return fmt::format("{{{}}}", *least);
    return most ? fmt::format("{{{},{}}}", *least, *most) : fmt::format("{{{},}}", *least);
  }

  std::optional<CharacterSet> one_character() {
    if (take(".")) return CharacterSet({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}).inverted();
    if (take("[")) return bracketed();
    if (take("\\")) return escape(false);
    constexpr std::string_view kMeaning = "^$*+?()|]";
    if (!more() || begins_repetition() || kMeaning.find(pattern_[at_]) != std::string_view::npos)
      return std::nullopt;
    return only(code_point());
  }

  std::optional<CharacterSet> bracketed() {
    const bool inverted = take("^");
    CharacterSet out;
    while (more() && pattern_[at_] != ']') {
      bool is_class = false;
      const auto first = member(is_class);
      if (!first) return std::nullopt;
      if (!is_class && at_ + 1 < pattern_.size() && pattern_[at_] == '-' && pattern_[at_ + 1] != ']') {
        ++at_;
        const auto last = member(is_class);
        if (!last || is_class || last_ < first_) return std::nullopt;
        out.add(CharacterSet({{first_, last_}}));
      } else {
        out.add(*first);
      }
    }
    if (!take("]")) return std::nullopt;
    return inverted ? out.inverted() : out;
  }

  /// Reads one member of a bracketed class. `last_` is this character, and `first_` the one before it.
  std::optional<CharacterSet> member(bool& is_class) {
    is_class = pattern_[at_] == '\\' && at_ + 1 < pattern_.size() &&
               std::string_view("dDwWsS").find(pattern_[at_ + 1]) != std::string_view::npos;
    if (take("\\")) return escape(true);
    return only(code_point());
  }

  std::optional<CharacterSet> only(std::optional<char32_t> character) {
    if (!character) return std::nullopt;
    first_ = last_;
    last_ = *character;
    return CharacterSet({{*character, *character}});
  }

  std::optional<CharacterSet> escape(bool in_class) {
    if (!more()) return std::nullopt;
    const char letter = pattern_[at_++];
    switch (letter) {
      case 'd': return kDigits;
      case 'D': return kDigits.inverted();
      case 'w': return kWord;
      case 'W': return kWord.inverted();
      case 's': return kSpace;
      case 'S': return kSpace.inverted();
      case 'n': return only('\n');
      case 'r': return only('\r');
      case 't': return only('\t');
      case 'f': return only('\f');
      case 'v': return only('\v');
      case 'x': return only(hexadecimal(2));
      case 'u': return only(hexadecimal(4));
      case 'b': return in_class ? only('\b') : std::nullopt;
      default: break;
    }
    const bool is_word = kWord.has(static_cast<unsigned char>(letter));
    if (is_word || static_cast<unsigned char>(letter) >= 0x80) return std::nullopt;  // \p, \1 and the like
    return only(static_cast<unsigned char>(letter));
  }

  std::optional<char32_t> hexadecimal(std::size_t digits) {
    char32_t out = 0;
    for (std::size_t i = 0; i < digits; ++i, ++at_) {
      const std::string_view all = "0123456789abcdef";
      const std::size_t digit =
          more() ? all.find(static_cast<char>(
                       pattern_[at_] >= 'A' && pattern_[at_] <= 'F' ? pattern_[at_] + 32 : pattern_[at_]))
                 : std::string_view::npos;
      if (digit == std::string_view::npos) return std::nullopt;
      out = static_cast<char32_t>(out * 16 + digit);
    }
    return out;
  }

  /// Requires: the pattern is UTF-8.
  char32_t code_point() {
    const auto byte = static_cast<unsigned char>(pattern_[at_++]);
    if (byte < 0x80) return byte;
    const int more_bytes = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
    auto out = static_cast<char32_t>(byte & (0x3f >> more_bytes));
    for (int i = 0; i < more_bytes && at_ < pattern_.size(); ++i)
      out = (out << 6) | (static_cast<unsigned char>(pattern_[at_++]) & 0x3f);
    return out;
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
  bool failed_ = false;
  char32_t first_ = 0;
  char32_t last_ = 0;
};

}  // namespace

std::optional<std::string> pattern_for_grammar(std::string_view pattern) { return Rewriter(pattern).all(); }

}  // namespace brimful::constraint
