#include "constraint/answer_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "constraint/schema_merge.h"
#include "constraint/schema_pattern.h"

namespace brimful::constraint {
namespace {

using json = nlohmann::ordered_json;

/// Keywords that llama.cpp's converter ignores.
constexpr std::array<const char*, 21> kNeverEnforced{"not",
                                                     "multipleOf",
                                                     "if",
                                                     "then",
                                                     "else",
                                                     "uniqueItems",
                                                     "contains",
                                                     "minContains",
                                                     "maxContains",
                                                     "patternProperties",
                                                     "propertyNames",
                                                     "minProperties",
                                                     "maxProperties",
                                                     "dependentRequired",
                                                     "dependentSchemas",
                                                     "dependencies",
                                                     "$dynamicRef",
                                                     "$recursiveRef",
                                                     "unevaluatedProperties",
                                                     "unevaluatedItems",
                                                     "contentEncoding"};
constexpr std::array<const char*, 4> kBounds{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
constexpr double kFar = 9.2e18;  // bounds beyond this are no 64-bit integers
constexpr std::array<const char*, 4> kMapsOfSchemas{"properties", "$defs", "definitions", "dependentSchemas"};
constexpr std::array<const char*, 4> kListsOfSchemas{"anyOf", "oneOf", "allOf", "prefixItems"};
constexpr std::array<const char*, 2> kSchemas{"additionalProperties", "items"};

class Walk {
 public:
  explicit Walk(AnswerSchema& out) : out_(out) {}

  void visit(json& schema, const std::string& path) {
    if (!schema.is_object()) return;
    for (const char* const keyword : kNeverEnforced) {
      if (schema.contains(keyword) && schema[keyword] != json(false)) report(keyword, path);
    }
    visit_bounds(schema, path);
    visit_text(schema, path);
    for (const char* const keyword : kMapsOfSchemas) {
      if (!schema.contains(keyword) || !schema[keyword].is_object()) continue;
      for (auto& [name, inner] : schema[keyword].items())
        visit(inner, fmt::format("{}/{}/{}", path, keyword, name));
    }
    for (const char* const keyword : kListsOfSchemas) visit_list(schema, keyword, path);
    for (const char* const keyword : kSchemas) {
      if (!schema.contains(keyword)) continue;
      visit(schema[keyword], fmt::format("{}/{}", path, keyword));
      visit_list(schema, keyword, path);
    }
  }

 private:
  void report(const char* keyword, const std::string& path) {
    out_.not_enforced.push_back(fmt::format("{} at {}", keyword, path.empty() ? "/" : path));
  }

  void visit_list(json& schema, const char* keyword, const std::string& path) {
    if (!schema.contains(keyword) || !schema[keyword].is_array()) return;
    for (std::size_t i = 0; i < schema[keyword].size(); ++i)
      visit(schema[keyword][i], fmt::format("{}/{}/{}", path, keyword, i));
  }

  /// The converter enforces bounds of integers only, and only one lower and one upper bound.
  void visit_bounds(const json& schema, const std::string& path) {
    const bool is_integer = is_integer_or_no_number(schema.value("type", json()));
    for (const char* const keyword : kBounds) {
      if (!schema.contains(keyword)) continue;
      const bool hidden =
          std::string_view(keyword).starts_with("exclusive") &&
          schema.contains(std::string_view(keyword).ends_with("Minimum") ? "minimum" : "maximum");
      const bool is_far = !schema[keyword].is_number() || std::abs(schema[keyword].get<double>()) >= kFar;
      if (!is_integer || hidden || is_far) report(keyword, path);
    }
  }

  /// Whether the converter enforces bounds for this type. It does for a list of types with an integer, if the
  /// list has no `number`.
  static bool is_integer_or_no_number(const json& type) {
    if (!type.is_array()) return type == "integer";
    const auto has = [&](const char* name) { return std::ranges::find(type, json(name)) != type.end(); };
    return has("integer") && !has("number");
  }

  void visit_text(json& schema, const std::string& path) {
    const bool has_length = schema.contains("minLength") || schema.contains("maxLength");
    if (schema.contains("format")) {
      const json format = schema["format"];
      constexpr std::array<std::string_view, 9> kKnown{"date",  "time",  "date-time", "uuid", "uuid1",
                                                       "uuid2", "uuid3", "uuid4",     "uuid5"};
      const bool known =
          format.is_string() && std::ranges::find(kKnown, format.get<std::string>()) != kKnown.end();
      if (!known || schema.contains("pattern")) report("format", path);
      if (known && has_length) report(schema.contains("minLength") ? "minLength" : "maxLength", path);
    }
    if (!schema.contains("pattern") || !schema["pattern"].is_string()) return;
    if (const auto pattern = pattern_for_grammar(schema["pattern"].get<std::string>())) {
      schema["pattern"] = *pattern;
      for (const char* const keyword : {"minLength", "maxLength"}) {
        if (schema.contains(keyword)) report(keyword, path);
      }
    } else {
      schema.erase("pattern");
      report("pattern", path);
    }
  }

  AnswerSchema& out_;
};

}  // namespace

AnswerSchema schema_for_grammar(const json& schema) {
  AnswerSchema out{.schema = schema, .not_enforced = {}};
  merge_schema(out.schema, out.not_enforced);
  Walk(out).visit(out.schema, "");
  return out;
}

}  // namespace brimful::constraint
