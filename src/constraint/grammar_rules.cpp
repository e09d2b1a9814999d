#include "constraint/grammar_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <vector>

#include "base/visible_text.h"

namespace brimful::constraint {
namespace {

// The largest depth of parentheses. llama.cpp reads grammars by recursion, and some thousands of levels
// overflow its stack.
constexpr int kDeepest = 500;
// The largest number of rules that llama.cpp may enter while it searches for left recursion. It enters a rule
// again for each reference.
constexpr std::uint64_t kMostVisits = 20'000'000;
constexpr std::uint32_t kLongestChain = 10'000;  // the largest depth of that recursion, in rules
constexpr std::size_t kQuoted = 40;              // bytes of a grammar that an error repeats

std::unexpected<Error> refused(std::string why) { return fail(ErrorCode::kInvalidArgument, std::move(why)); }

/// Checks a repetition `{m,n}` whose brace is at index `at`: m must not be above n. llama.cpp checks
/// everything else.
Status check_repetition(std::string_view text, std::size_t at) {
  constexpr std::string_view kBlanks = " \t\r\n#";  // in a group, lines may end between these parts
  const auto skip = [&] {
    while (at < text.size() && kBlanks.find(text[at]) != std::string_view::npos)
      at = text[at] == '#' ? end_of_comment(text, at) : at + 1;
  };
  const auto number = [&](std::uint64_t& out) {
    skip();
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), out);
    if (end == text.data() + at) return false;
    if (error == std::errc::result_out_of_range) out = UINT64_MAX;
    at = static_cast<std::size_t>(end - text.data());
    skip();
    return true;
  };
  std::uint64_t least = 0;
  std::uint64_t most = 0;
  ++at;
  if (!number(least) || at >= text.size() || text[at] != ',') return {};
  ++at;
  if (!number(most) || least <= most) return {};
  return refused(fmt::format("a repetition {{{},{}}} has its maximum below its minimum", least, most));
}

/// Makes a parser's message short. Behind the last place that it names, the message repeats all of the text
/// that is left.
std::string first_words(std::string_view message) {
  if (message == "stoull" || message == "stoul") return "a number in it is out of range";
  const std::size_t end = message.find('\n');
  std::string line(message.substr(0, end));
  const std::size_t place = line.find(" at ");
  if (place != std::string::npos && line.size() > place + 4 + kQuoted)
    line = line.substr(0, place + 4 + kQuoted) + "...";
  if (line.ends_with(" at ")) line += "the end of a line";
  return visible_text(line);
}

/// The rules of a grammar, and for each rule the rules that it may begin with.
class Rules {
 public:
  explicit Rules(const llama_grammar_rules& rules)
      : rules_(rules), nullable_(rules.size()), first_(rules.size()) {}

  /// Walks the graph of these first rules in depth-first order, without recursion.
  Status check() {
    for (std::size_t i = 0; i < rules_.size(); ++i) nullable_[i] = may_be_empty(i);
    for (std::size_t i = 0; i < rules_.size(); ++i) collect_first(i);
    visits_.resize(rules_.size());
    depth_.resize(rules_.size());
    state_.resize(rules_.size());
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      if (state_[i] == State::kNew) BRIMFUL_TRY_VOID(visit(static_cast<std::uint32_t>(i)));
    }
    return {};
  }

 private:
  enum class State : std::uint8_t { kNew, kOpen, kDone };
  struct Step {
    std::uint32_t rule;
    std::size_t next = 0;  // index into first_
  };

  static bool ends(const llama_grammar_element& element) {
    return element.type == LLAMA_GRETYPE_END || element.type == LLAMA_GRETYPE_ALT;
  }

  /// Collects the references that may come first in an alternative.
  void collect_first(std::size_t rule) {
    bool open = true;  // everything before, in this alternative, may be empty
    for (const llama_grammar_element& element : rules_[rule]) {
      if (ends(element)) {
        open = true;
      } else if (open && element.type == LLAMA_GRETYPE_RULE_REF) {
        first_[rule].push_back(element.value);
        open = nullable_[element.value];
      } else {
        open = false;
      }
    }
  }

  /// Whether an alternative of the rule is empty. It follows llama.cpp: a rule counts as not empty when it
  /// can be empty only through the rules in it. The grammars of llama.cpp's tool calls rely on that.
  [[nodiscard]] bool may_be_empty(std::size_t rule) const {
    bool at_begin = true;
    for (const llama_grammar_element& element : rules_[rule]) {
      if (ends(element) && at_begin) return true;
      at_begin = ends(element);
    }
    return false;
  }

  Status visit(std::uint32_t start) {
    std::vector<Step> steps{{start}};
    state_[start] = State::kOpen;
    while (!steps.empty()) {
      Step& step = steps.back();
      if (step.next < first_[step.rule].size()) {
        const std::uint32_t other = first_[step.rule][step.next++];
        if (state_[other] == State::kOpen)
          return refused("it has a left recursion: a rule begins with itself");
        if (state_[other] == State::kDone) continue;
        state_[other] = State::kOpen;
        steps.push_back({other});
        continue;
      }
      const std::uint32_t rule = step.rule;
      visits_[rule] = 1;
      for (const std::uint32_t other : first_[rule]) {
        visits_[rule] = std::min(visits_[rule] + visits_[other], kMostVisits + 1);
        depth_[rule] = std::max(depth_[rule], depth_[other] + 1);
      }
      if (visits_[rule] > kMostVisits || depth_[rule] > kLongestChain)
        return refused(
            "its rules refer to each other too often: its first characters cannot be found in time");
      state_[rule] = State::kDone;
      steps.pop_back();
    }
    return {};
  }

  const llama_grammar_rules& rules_;
  std::vector<bool> nullable_;
  std::vector<std::vector<std::uint32_t>> first_;
  std::vector<std::uint64_t> visits_;
  std::vector<std::uint32_t> depth_;
  std::vector<State> state_;
};

Status check_rules(const llama_grammar_parser& parser) {
  if (parser.symbol_ids.find("root") == parser.symbol_ids.end()) return refused("it has no rule named root");
  for (const auto& [name, id] : parser.symbol_ids) {
    if (id >= parser.rules.size() || parser.rules[id].empty())
      return refused(
          fmt::format("the rule {} is used but not defined", visible_text(name.substr(0, kQuoted))));
  }
  return Rules(parser.rules).check();
}

/// Skips blanks and comments before the first rule.
const char* first_rule(const char* at) {
  for (; *at == ' ' || *at == '\t' || *at == '\r' || *at == '\n' || *at == '#'; ++at) {
    if (*at != '#') continue;
    while (at[1] != '\0' && at[1] != '\n' && at[1] != '\r') ++at;
  }
  return at;
}

}  // namespace

llama_grammar_parser parse_grammar(const std::string& text, const llama_vocab* vocab) {
  llama_grammar_parser parser(vocab);
  for (const char* at = first_rule(text.c_str()); *at != '\0';) at = parser.parse_rule(at);
  return parser;
}

std::size_t end_of_comment(std::string_view text, std::size_t at) {
  return std::min(text.find_first_of("\r\n", at), text.size());
}

std::size_t end_of_quoted(std::string_view text, std::size_t at, char close) {
  for (++at; at < text.size() && text[at] != close; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at;
}

Status check_grammar_text(std::string_view text) {
  // llama.cpp takes such a text for a grammar of another library, which is not in this build, and ends the
  // process.
  if (text.starts_with("%llguidance")) return refused("it is not GBNF: %llguidance is not supported");
  if (text.find('\0') != std::string_view::npos) return refused("it contains a NUL byte");
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"': i = end_of_quoted(text, i, '"'); break;
      case '[': i = end_of_quoted(text, i, ']'); break;
      case '#': i = end_of_comment(text, i); break;
      case '<': i = std::min(text.find('>', i), text.size()); break;  // a token, by its text
      case '{': BRIMFUL_TRY_VOID(check_repetition(text, i)); break;
      case '(':
        if (++depth > kDeepest) return refused(fmt::format("is nested more than {} levels deep", kDeepest));
        break;
      case ')': --depth; break;
      default: break;
    }
  }
  return {};
}

Status check_pattern(std::string_view pattern) {
  int depth = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    switch (pattern[i]) {
      case '\\': ++i; break;
      case '[':
        i = end_of_quoted(pattern, i, ']');
        if (i >= pattern.size()) return refused("a pattern has a class of characters without an end");
        break;
      case '{': BRIMFUL_TRY_VOID(check_repetition(pattern, i)); break;
      case '(': ++depth; break;
      case ')':
        if (--depth < 0) return refused("a pattern has unbalanced parentheses");
        break;
      default: break;
    }
  }
  if (depth != 0) return refused("a pattern has unbalanced parentheses");
  return {};
}

Status check_grammar(const std::string& text, const llama_vocab* vocab, const foreign::FenceLimits& limits) {
  BRIMFUL_TRY_VOID(check_grammar_text(text));
  auto read =
      foreign::fenced(limits, [&](const foreign::Fence&) { return check_rules(parse_grammar(text, vocab)); });
  if (!read) return refused(first_words(read.error().message));
  return *read;
}

}  // namespace brimful::constraint
