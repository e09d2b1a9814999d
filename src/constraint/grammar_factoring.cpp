#include "constraint/grammar_factoring.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>
#include <vector>

namespace brimful::constraint {
namespace {

// A rule with at least this number of alternatives is rewritten.
constexpr std::size_t kMany = 8;

using Element = llama_grammar_element;
/// Elements that belong together: a character with its ranges and alternatives, or a reference, or a token.
using Unit = std::vector<Element>;
using Alternative = std::vector<Unit>;

bool equal(const Element& a, const Element& b) { return a.type == b.type && a.value == b.value; }
bool less(const Element& a, const Element& b) {
  return a.type != b.type ? a.type < b.type : a.value < b.value;
}
bool equal(const Unit& a, const Unit& b) {
  return std::ranges::equal(a, b, [](const Element& x, const Element& y) { return equal(x, y); });
}
bool less(const Unit& a, const Unit& b) {
  return std::ranges::lexicographical_compare(a, b,
                                              [](const Element& x, const Element& y) { return less(x, y); });
}

bool continues_unit(const Element& element) {
  return element.type == LLAMA_GRETYPE_CHAR_ALT || element.type == LLAMA_GRETYPE_CHAR_RNG_UPPER;
}

std::vector<Alternative> alternatives_of(const llama_grammar_rule& rule) {
  std::vector<Alternative> out(1);
  for (const Element& element : rule) {
    if (element.type == LLAMA_GRETYPE_END) break;
    if (element.type == LLAMA_GRETYPE_ALT) {
      out.emplace_back();
    } else if (continues_unit(element) && !out.back().empty()) {
      out.back().back().push_back(element);
    } else {
      out.back().push_back({element});
    }
  }
  return out;
}

/// Writes rules from sorted alternatives.
class Writer {
 public:
  explicit Writer(llama_grammar_rules& rules) : rules_(rules) {}

  /// The rule for some alternatives, without their first `depth` units.
  llama_grammar_rule rule(std::span<const Alternative> sorted, std::size_t depth) {
    llama_grammar_rule out;
    for (std::size_t begin = 0; begin < sorted.size();) {
      std::size_t end = begin + 1;
      const bool is_over = sorted[begin].size() == depth;
      while (end < sorted.size() && !is_over && equal(sorted[end][depth], sorted[begin][depth])) ++end;
      if (!out.empty() || begin > 0) out.push_back({LLAMA_GRETYPE_ALT, 0});
      append_group(out, sorted.subspan(begin, end - begin), depth);
      begin = end;
    }
    out.push_back({LLAMA_GRETYPE_END, 0});
    return out;
  }

 private:
  static void append(llama_grammar_rule& out, std::span<const Unit> units) {
    for (const Unit& unit : units) out.insert(out.end(), unit.begin(), unit.end());
  }

  /// Writes alternatives with an equal unit at `depth`: first their common beginning, then a reference to a
  /// new rule for the rest.
  void append_group(llama_grammar_rule& out, std::span<const Alternative> group, std::size_t depth) {
    const Alternative& first = group.front();
    if (group.size() == 1) return append(out, std::span(first).subspan(depth));
    const Alternative& last =
        group.back();  // because of the order, all alternatives share what the first and the last one share
    std::size_t end = depth;
    while (end < first.size() && end < last.size() && equal(first[end], last[end])) ++end;
    append(out, std::span(first).subspan(depth, end - depth));
    const auto number = static_cast<std::uint32_t>(rules_.size());
    rules_.emplace_back();
    llama_grammar_rule rest = rule(group, end);
    rules_[number] = std::move(rest);
    out.push_back({LLAMA_GRETYPE_RULE_REF, number});
  }

  llama_grammar_rules& rules_;
};

bool is_less(const Alternative& a, const Alternative& b) {
  return std::ranges::lexicographical_compare(a, b, [](const Unit& x, const Unit& y) { return less(x, y); });
}
bool is_equal(const Alternative& a, const Alternative& b) {
  return std::ranges::equal(a, b, [](const Unit& x, const Unit& y) { return equal(x, y); });
}

}  // namespace

void factor_rules(llama_grammar_rules& rules) {
  const std::size_t count = rules.size();
  for (std::size_t i = 0; i < count; ++i) {
    const auto is_alternative = [](const Element& element) { return element.type == LLAMA_GRETYPE_ALT; };
    if (static_cast<std::size_t>(std::ranges::count_if(rules[i], is_alternative)) + 1 < kMany) continue;
    std::vector<Alternative> alternatives = alternatives_of(rules[i]);
    std::ranges::sort(alternatives, is_less);
    const auto [first, last] = std::ranges::unique(alternatives, is_equal);
    alternatives.erase(first, last);
    llama_grammar_rule factored = Writer(rules).rule(alternatives, 0);
    rules[i] = std::move(factored);
  }
}

}  // namespace brimful::constraint
