#include "constraint/wide_objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <vector>

namespace brimful::constraint {
namespace {

using Json = nlohmann::ordered_json;

// An object with at least this number of optional properties is rewritten.
constexpr std::size_t kWide = 24;
constexpr std::string_view kMark = "\xef\xa3\xbf\xee\x80\x80";  // U+F8FF U+E000, both for private use
// The beginning, end and separators in the rule of an object, as llama.cpp writes it.
constexpr std::string_view kBegin = "\"{\" space ";
constexpr std::string_view kEnd = " space \"}\"";
constexpr std::string_view kBetween = " \",\" space ";

bool holds_text_only(std::string_view key) {
  return key == "enum" || key == "const" || key == "default" || key == "examples" || key == "example";
}

bool refers_into_properties(const Json& node) {
  if (node.is_object()) {
    const auto reference = node.find("$ref");
    if (reference != node.end() && reference->is_string() &&
        reference->get_ref<const std::string&>().find("/properties/") != std::string::npos)
      return true;
  }
  for (const Json& inner : node) {
    if (inner.is_structured() && refers_into_properties(inner)) return true;
  }
  return false;
}

/// Makes all properties of a wide object required, and marks those that were optional.
bool mark_object(Json& node) {
  const auto properties = node.find("properties");
  if (properties == node.end() || !properties->is_object()) return false;
  std::set<std::string> required;
  if (const auto list = node.find("required"); list != node.end() && list->is_array()) {
    for (const Json& name : *list) {
      if (name.is_string()) required.insert(name.get<std::string>());
    }
  }
  std::size_t optional = 0;
  for (const auto& [name, schema] : properties->items()) optional += required.contains(name) ? 0 : 1;
  if (optional < kWide) return false;
  Json marked = Json::object();
  Json all = Json::array();
  for (const bool first_required : {true, false}) {
    for (auto& [name, schema] : properties->items()) {
      if (required.contains(name) != first_required) continue;
      const std::string named = first_required ? name : std::string(kMark) + name;
      all.push_back(named);
      marked[named] = std::move(schema);
    }
  }
  node["properties"] = std::move(marked);
  node["required"] = std::move(all);
  node["additionalProperties"] = false;
  return true;
}

bool mark(Json& node) {
  bool some = false;
  if (node.is_object()) {
    for (auto& [key, inner] : node.items()) {
      if (inner.is_structured() && !holds_text_only(key)) some = mark(inner) || some;
    }
    return mark_object(node) || some;
  }
  for (Json& inner : node) {
    if (inner.is_structured()) some = mark(inner) || some;
  }
  return some;
}

struct Rule {
  std::string_view name;
  std::string_view body;
};
/// The bodies of the rules for a marked key and its value, by the rule's name.
using Bodies = std::map<std::string_view, std::string_view>;

/// Splits a grammar into rules. llama.cpp writes each rule on a line of its own. A grammar that a template
/// made by hand may have rules of several lines; a line without ` ::= ` has no name here.
std::vector<Rule> rules_of(std::string_view grammar) {
  constexpr std::string_view kIs = " ::= ";
  std::vector<Rule> out;
  while (!grammar.empty()) {
    const std::size_t end = std::min(grammar.find('\n'), grammar.size());
    const std::string_view line = grammar.substr(0, end);
    const std::size_t is = line.find(kIs);
    if (is == std::string_view::npos) {
      out.push_back({{}, line});
    } else {
      out.push_back({line.substr(0, is), line.substr(is + kIs.size())});
    }
    grammar.remove_prefix(std::min(end + 1, grammar.size()));
  }
  return out;
}

/// The names in `a "," space b "," space c`. Empty when the text has another form.
std::vector<std::string_view> names_in(std::string_view list) {
  std::vector<std::string_view> out;
  for (;;) {
    const std::size_t end = list.find(kBetween);
    const std::string_view name = list.substr(0, end);
    if (name.empty() || name.find_first_of(" \"()[]|{}") != std::string_view::npos) return {};
    out.push_back(name);
    if (end == std::string_view::npos) return out;
    list.remove_prefix(end + kBetween.size());
  }
}

std::string without_marks(std::string_view text) {
  std::string out;
  for (;;) {
    const std::size_t at = text.find(kMark);
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + kMark.size());
  }
}

/// Writes the rules of one object. The rule `NAME-oI` is everything that may follow from the Ith optional
/// property on: this property and everything that may follow it, or everything that may follow from the next
/// property on. Properties are grouped into blocks. At the first property of a block, all properties of the
/// block are alternatives of one rule `NAME-bI`, with their keys written out, so that factor_rules() lets
/// them share the first characters of their keys. Without blocks, as many alternatives as there are
/// properties would be open in one place; with blocks, it is at most two blocks' worth.
class ObjectRules {
 public:
  ObjectRules(std::string_view rule, const std::vector<std::string_view>& names, const Bodies& marked)
      : rule_(rule), marked_(marked) {
    for (const std::string_view name : names) {
      if (marked.contains(name)) {
        optional_.push_back(name);
        continue;
      }
      required_ += required_.empty() ? "" : kBetween;
      required_ += name;
    }
    while (block_ * block_ < optional_.size()) ++block_;
  }

  std::string text() const {
    const std::string first = from(0);
    std::string out = fmt::format("{} ::= {}", rule_, kBegin);
    out += required_.empty() ? fmt::format("({})?", first)
                             : fmt::format("{} (\",\" space {})?", required_, first);
    out += fmt::format("{}\n", kEnd);
    for (std::size_t i = 0; i < optional_.size(); ++i) {
      if (i % block_ == 0) out += block(i);
      // The first property of a block is reached through the block's own rule.
      if (i % block_ != 0) out += fmt::format("{}-o{} ::= {}{}\n", rule_, i, property(i), or_from(i + 1));
    }
    return out;
  }

 private:
  /// The name of the rule for everything that may follow from property `i` on.
  [[nodiscard]] std::string from(std::size_t i) const {
    return fmt::format("{}-{}{}", rule_, i % block_ == 0 ? "b" : "o", i);
  }
  [[nodiscard]] std::string or_from(std::size_t i) const {
    return i < optional_.size() ? fmt::format(" | {}", from(i)) : "";
  }
  /// Property `i` with its key written out, and everything that may follow it.
  [[nodiscard]] std::string property(std::size_t i) const {
    const std::string body = without_marks(marked_.at(optional_[i]));
    return i + 1 < optional_.size() ? fmt::format("{} (\",\" space {})?", body, from(i + 1)) : body;
  }
  [[nodiscard]] std::string block(std::size_t begin) const {
    std::string out = fmt::format("{}-b{} ::= ", rule_, begin);
    const std::size_t end = std::min(begin + block_, optional_.size());
    for (std::size_t i = begin; i < end; ++i) out += fmt::format("{}{}", i > begin ? " | " : "", property(i));
    return out + or_from(end) + "\n";
  }

  const std::string_view rule_;
  const Bodies& marked_;
  std::string required_;
  std::vector<std::string_view> optional_;
  std::size_t block_ = 1;  // number of properties in a block
};

}  // namespace

bool mark_wide_objects(Json& schema) { return !refers_into_properties(schema) && mark(schema); }

Result<std::string> unmark_wide_objects(const std::string& grammar) {
  const std::string key_begins = fmt::format("\"\\\"{}", kMark);
  const std::vector<Rule> rules = rules_of(grammar);
  Bodies marked;
  for (const Rule& rule : rules) {
    if (rule.body.starts_with(key_begins)) marked.emplace(rule.name, rule.body);
  }
  std::string out;
  std::size_t placed = 0;
  for (const Rule& rule : rules) {
    std::vector<std::string_view> names;
    if (rule.body.starts_with(kBegin) && rule.body.ends_with(kEnd) &&
        rule.body.size() > kBegin.size() + kEnd.size())
      names = names_in(rule.body.substr(kBegin.size(), rule.body.size() - kBegin.size() - kEnd.size()));
    std::size_t here = 0;
    for (const std::string_view name : names) here += marked.contains(name) ? 1 : 0;
    if (here > 0) {
      out += ObjectRules(rule.name, names, marked).text();
    } else {
      out += rule.name.empty() ? fmt::format("{}\n", rule.body)
                               : fmt::format("{} ::= {}\n", rule.name, without_marks(rule.body));
    }
    placed += here;
  }
  if (placed < marked.size() || marked.empty() || out.find(kMark) != std::string::npos)
    return fail(ErrorCode::kInternal,
                "the grammar of an object with many optional properties has an unexpected form");
  return out;
}

}  // namespace brimful::constraint
