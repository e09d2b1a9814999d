#include "engine/answer_grammar.h"

#include <fmt/format.h>
#include <json-schema-to-grammar.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string_view>

namespace strata::engine {
namespace {

// llama.cpp reads grammars and schemas by recursion: some thousands of levels end its stack.
constexpr int kDeepest = 500;

std::unexpected<Error> refused(std::string_view flag, std::string_view why) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", flag, why));
}

std::unexpected<Error> too_deep(std::string_view flag) {
  return refused(flag, fmt::format("is nested more than {} levels deep", kDeepest));
}

/// One past the text that opens at `at` and ends with `close`; a backslash takes the meaning of what follows.
std::size_t end_of_quoted(std::string_view text, std::size_t at, char close) {
  for (++at; at < text.size() && text[at] != close; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at;
}

int nesting_of_gbnf(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"': i = end_of_quoted(text, i, '"'); break;
      case '[': i = end_of_quoted(text, i, ']'); break;
      case '#': i = std::min(text.find('\n', i), text.size()); break;
      case '(': deepest = std::max(deepest, ++depth); break;
      case ')': --depth; break;
      default: break;
    }
  }
  return deepest;
}

/// What llama.cpp says about a schema, without its own headline.
std::string reason(std::string_view what) {
  constexpr std::string_view kHeadline = "JSON schema conversion failed:\n";
  constexpr std::string_view kPlace = "JSON schema error at ";
  if (what.starts_with(kHeadline)) what.remove_prefix(kHeadline.size());
  if (what.starts_with(kPlace)) what.remove_prefix(kPlace.size());
  return std::string(what.substr(0, what.find('\n')));
}

/// With `prefix` before the name of each rule.
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
      case '#': copy_until(at, grammar.find('\n', at)); continue;
      case '{': copy_until(at, grammar.find('}', at)); continue;
      case '<': copy_until(at, grammar.find('>', at)); continue;  // a token
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
  if (nesting_of_gbnf(text) > kDeepest) return too_deep(name);
  return common_grammar(COMMON_GRAMMAR_TYPE_USER, text);
}

Result<common_grammar> grammar_of_schema(const std::string& text, std::string_view name) {
  int deepest = 0;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t, const nlohmann::json&) {
    deepest = std::max(deepest, depth);
    return true;
  };
  try {
    [[maybe_unused]] const auto json = nlohmann::json::parse(text, watch);
  } catch (const nlohmann::json::parse_error& error) {
    return refused(name, fmt::format("is no JSON from byte {} on", error.byte));
  }
  if (deepest > kDeepest) return too_deep(name);
  try {
    return common_grammar(COMMON_GRAMMAR_TYPE_OUTPUT_FORMAT,
                          json_schema_to_grammar(common_json::parse(text)));
  } catch (const std::exception& error) {
    return refused(name, fmt::format("is no schema that can be followed: {}", reason(error.what())));
  }
}

}  // namespace strata::engine
