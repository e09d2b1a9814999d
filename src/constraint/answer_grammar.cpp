#include "constraint/answer_grammar.h"

#include <fmt/format.h>
#include <json-schema-to-grammar.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/json_text.h"
#include "constraint/grammar_rules.h"
#include "constraint/wide_objects.h"
#include "foreign/foreign_limits.h"
#include "foreign/library_reason.h"

namespace brimful::constraint {
namespace {

using Json = nlohmann::ordered_json;

std::unexpected<Error> refused(std::string_view name, std::string_view why) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", name, why));
}

/// Checks that no maximum is below its minimum, and that no pattern has such a repetition: llama.cpp would
/// write it without an end. `has_names`: the keys of `node` are names chosen by the schema's author, not
/// keywords.
template <typename AnyJson>
Status check_bounds(const AnyJson& node, bool has_names = false) {
  constexpr std::array<std::pair<const char*, const char*>, 6> kBounds{
      {{"minItems", "maxItems"},
       {"minLength", "maxLength"},
       {"minimum", "maximum"},
       {"minProperties", "maxProperties"},
       {"minContains", "maxContains"},
       {"exclusiveMinimum", "exclusiveMaximum"}}};
  constexpr std::array<std::string_view, 5> kMaps{"properties", "patternProperties", "$defs", "definitions",
                                                  "dependentSchemas"};
  constexpr std::array<std::string_view, 4> kTexts{"enum", "const", "default", "examples"};
  const bool is_schema = node.is_object() && !has_names;
  if (is_schema) {
    for (const auto& [least, most] : kBounds) {
      const auto low = node.find(least);
      const auto high = node.find(most);
      if (low == node.end() || high == node.end() || !low->is_number() || !high->is_number()) continue;
      if (low->template get<double>() > high->template get<double>())
        return fail(ErrorCode::kInvalidArgument, fmt::format("{} is below {}", most, least));
    }
  }
  for (const auto& [key, inner] : node.items()) {
    if (is_schema && key == "pattern" && inner.is_string())
      BRIMFUL_TRY_VOID(check_pattern(inner.template get_ref<const std::string&>()));
    const auto is_one_of = [&](const auto& keywords) {
      return is_schema && std::ranges::find(keywords, key) != keywords.end();
    };
    if (inner.is_structured() && !is_one_of(kTexts))
      BRIMFUL_TRY_VOID(check_bounds(inner, inner.is_object() && is_one_of(kMaps)));
  }
  return {};
}

/// The grammar with `prefix` in front of the name of each rule.
std::string with_prefix(std::string_view grammar, std::string_view prefix) {
  const auto is_name = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
  };
  std::string out;
  const auto copy_until = [&](std::size_t& at, std::size_t end) {
    end = std::min(end, grammar.size());
    out += grammar.substr(at, end - at);
    at = end;
  };
  for (std::size_t at = 0; at < grammar.size();) {
    switch (const char c = grammar[at]) {
      case '"': copy_until(at, end_of_quoted(grammar, at, '"') + 1); continue;
      case '[': copy_until(at, end_of_quoted(grammar, at, ']') + 1); continue;
      case '#': copy_until(at, end_of_comment(grammar, at)); continue;
      case '{': copy_until(at, grammar.find('}', at)); continue;
      case '<': copy_until(at, grammar.find('>', at)); continue;  // a token, by its text
      default:
        if (is_name(c)) {
          out += prefix;
          copy_until(at, at + static_cast<std::size_t>(std::ranges::find_if_not(grammar.substr(at), is_name) -
                                                       grammar.substr(at).begin()));
        } else {
          out += c;
          ++at;
        }
    }
  }
  return out;
}

}  // namespace

Status check_schema_bounds(const nlohmann::ordered_json& schema, std::string_view name) {
  const Status checked = check_bounds(schema);
  return checked ? checked : Status(refused(name, checked.error().message));
}

std::string grammar_behind(std::string_view text, std::string_view grammar) {
  std::string literal;
  for (const char c : text) {
    if (c == '"' || c == '\\') literal += '\\';
    if (c == '\n') {
      literal += "\\n";
    } else {
      literal += c;
    }
  }
  return fmt::format("root ::= \"{}\" c-root\n{}\n", literal, with_prefix(grammar, "c-"));
}

std::string either_grammar(std::string_view one, std::string_view other) {
  return fmt::format("root ::= a-root | b-root\n{}\n{}\n", with_prefix(one, "a-"), with_prefix(other, "b-"));
}

Result<common_grammar> grammar_of_gbnf(const std::string& text, std::string_view name) {
  if (const Status read = check_grammar_text(text); !read) return refused(name, read.error().message);
  return common_grammar(COMMON_GRAMMAR_TYPE_USER, text);
}

Result<ReadySchema> ready_schema(const std::string& text, std::string_view name) {
  auto schema = parse_ordered_json(text, kDeepestSchema);
  if (!schema) return refused(name, schema.error().message);
  if (const Status read = check_bounds(*schema); !read) return refused(name, read.error().message);
  ReadySchema out;
  out.is_marked = mark_wide_objects(*schema);
  out.text = out.is_marked ? schema->dump() : text;
  return out;
}

Result<common_grammar> grammar_of_schema(const std::string& text, std::string_view name) {
  BRIMFUL_TRY(const ReadySchema schema, ready_schema(text, name));
  auto grammar = foreign::read_foreign([&](const foreign::Fence&) -> Result<std::string> {
    std::string out = json_schema_to_grammar(common_json::parse(schema.text));
    if (!schema.is_marked) return out;
    return unmark_wide_objects(out);
  });
  if (!grammar)
    return refused(name, fmt::format("is not a schema that can be followed: {}",
                                     foreign::library_reason(grammar.error().message)));
  if (!*grammar) return refused(name, grammar->error().message);
  if (const Status read = check_grammar_text(**grammar); !read)
    return refused(name, fmt::format("is not a schema that can be followed: {}", read.error().message));
  return common_grammar(COMMON_GRAMMAR_TYPE_OUTPUT_FORMAT, std::move(**grammar));
}

}  // namespace brimful::constraint
