#include "constraint/schema_merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace brimful::constraint {
namespace {

using json = nlohmann::ordered_json;

// The largest number of references in a chain.
constexpr int kMostReferences = 16;
// The largest number of copies of referenced schemas.
constexpr int kMostCopies = 256;
// The largest size of all copies together, in bytes of JSON.
constexpr std::size_t kMostCopied = 512 << 10;
constexpr std::array<const char*, 3> kMapsOfSchemas{"properties", "$defs", "definitions"};
constexpr std::array<const char*, 5> kListsOfSchemas{"anyOf", "oneOf", "allOf", "prefixItems", "items"};
constexpr std::array<const char*, 2> kSchemas{"additionalProperties", "items"};
constexpr std::array<std::string_view, 15> kSaysNothing{
    "title",    "description", "default",  "examples", "example",     "$comment",   "$schema",      "$id",
    "readOnly", "writeOnly",   "nullable", "$defs",    "definitions", "deprecated", "discriminator"};

bool says_nothing(std::string_view keyword) {
  return std::ranges::find(kSaysNothing, keyword) != kSaysNothing.end();
}

bool is_of_type(const json& value, const std::string& type) {
  if (type == "string") return value.is_string();
  if (type == "integer")
    return value.is_number_integer() ||
           (value.is_number_float() && std::floor(value.get<double>()) == value.get<double>());
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "array") return value.is_array();
  return type != "object" || value.is_object();
}

std::set<std::string> names_of(const json& list) {
  std::set<std::string> out;
  if (list.is_string()) out.insert(list.get<std::string>());
  if (!list.is_array()) return out;
  for (const json& name : list) {
    if (name.is_string()) out.insert(name.get<std::string>());
  }
  return out;
}

bool has_any(const json& schema, std::initializer_list<const char*> keywords) {
  return std::ranges::any_of(keywords, [&](const char* keyword) { return schema.contains(keyword); });
}

/// The types that both schemas allow; nothing when there is none. An integer is a number.
std::optional<json> common_types(const json& one, const json& other) {
  const auto a = names_of(one);
  const auto b = names_of(other);
  json out = json::array();
  for (const std::string& type : a) {
    if (b.contains(type) || (type == "integer" && b.contains("number"))) out.push_back(type);
  }
  for (const std::string& type : b) {
    if (type == "integer" && a.contains("number") && !a.contains("integer")) out.push_back(type);
  }
  if (out.empty()) return std::nullopt;
  return out.size() == 1 ? out[0] : out;
}

/// Makes `into` ask for everything that both schemas ask for. Returns false when no schema can say that;
/// `into` is undefined then.
bool merge(json& into, const json& from);

bool merge_keyword(const std::string& keyword, json& into, const json& from) {
  const auto is = [&](std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, keyword) != names.end();
  };
  if (into == from || says_nothing(keyword)) return true;
  const bool numbers = into.is_number() && from.is_number();
  if (numbers && is({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})) {
    if (from > into) into = from;
    return true;
  }
  if (numbers && is({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})) {
    if (from < into) into = from;
    return true;
  }
  if (keyword == "type") {
    const auto types = common_types(into, from);
    if (types) into = *types;
    return types.has_value();
  }
  if (keyword == "required" && into.is_array() && from.is_array()) {
    for (const json& name : from) {
      if (std::ranges::find(into, name) == into.end()) into.push_back(name);
    }
    return true;
  }
  if (keyword == "enum" && into.is_array() && from.is_array()) {
    json both = json::array();
    for (const json& value : into) {
      if (std::ranges::find(from, value) != from.end()) both.push_back(value);
    }
    into = std::move(both);
    return !into.empty();
  }
  if (keyword == "properties" && into.is_object() && from.is_object()) {
    for (const auto& [name, schema] : from.items()) {
      if (!into.contains(name)) {
        into[name] = schema;
      } else if (!merge(into[name], schema)) {
        return false;
      }
    }
    return true;
  }
  // If several parts of an object each forbid the properties that the others list, no object would be valid.
  // Such parts are meant to be added up.
  if (keyword == "additionalProperties" && (into == json(false) || from == json(false))) {
    into = false;
    return true;
  }
  return keyword == "items" && merge(into, from);
}

bool merge(json& into, const json& from) {
  if (from == json(true)) return true;
  if (into == json(true)) into = json::object();
  if (!into.is_object() || !from.is_object()) return into == from;
  for (const auto& [keyword, value] : from.items()) {
    if (!into.contains(keyword)) {
      into[keyword] = value;
    } else if (!merge_keyword(keyword, into[keyword], value)) {
      return false;
    }
  }
  return true;
}

/// Whether llama.cpp's converter can follow a reference: it takes the names as they are written.
bool is_plain(std::string_view reference) {
  return reference.starts_with("#/") && reference.find_first_of("~%") == std::string_view::npos;
}

/// Decodes each %XX, which the fragment of a reference may contain.
std::string without_percents(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const char* const begin = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(begin, begin + 2, value, 16).ptr == begin + 2) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

class Merger {
 public:
  Merger(json& root, std::vector<std::string>& not_enforced) : root_(root), not_enforced_(not_enforced) {}

  void all() {
    json copies = json::object();
    name_references(root_, copies);
    for (auto& [name, copy] : copies.items()) root_["$defs"][name] = std::move(copy);
    visit(root_, "");
    for (auto& [name, schema] : written_.items()) root_["$defs"][name] = std::move(schema);
  }

 private:
  void report(const std::string& keyword, const std::string& path) {
    not_enforced_.push_back(fmt::format("{} at {}", keyword, path.empty() ? "/" : path));
  }
  std::string fresh_name() {
    for (;;) {
      std::string name = fmt::format("merged-{}", names_++);
      if (!root_.contains("$defs") || !root_["$defs"].contains(name)) return name;
    }
  }

  /// The part of this schema that a reference names; null when there is none.
  [[nodiscard]] const json* target_of(const std::string& reference) const {
    if (!reference.starts_with('#')) return nullptr;
    try {
      const json::json_pointer place(without_percents(std::string_view(reference).substr(1)));
      return root_.contains(place) ? &root_.at(place) : nullptr;
    } catch (const json::exception&) {  // the reference is no JSON pointer
      return nullptr;
    }
  }

  /// A copy of the schema that a reference names, without the definitions in it. Nothing when the reference
  /// names none, or the limits for copies are reached.
  std::optional<json> copy_of(const std::string& reference) {
    const json* const target = target_of(reference);
    if (target == nullptr || !target->is_object() || ++copies_ > kMostCopies) return std::nullopt;
    json out = *target;
    out.erase("$defs");
    out.erase("definitions");
    copied_ += out.dump().size();
    if (copied_ > kMostCopied) return std::nullopt;
    return out;
  }

  /// Gives plain names to references that are not plain, such as `#`. The schemas that they name are copied
  /// to the definitions under these names.
  void name_references(json& node, json& copies) {
    if (node.is_object()) {
      const auto reference = node.find("$ref");
      if (reference != node.end() && reference->is_string()) {
        const std::string text = reference->get<std::string>();
        can_merge_ =
            can_merge_ && text.find("Of/") == std::string::npos;  // a merged schema has another place
        if (!is_plain(text)) {
          const auto known = named_.find(text);
          if (known == named_.end()) {
            // The name is known before the schema is read, because the schema may refer to itself.
            const std::string name = fresh_name();
            named_.emplace(text, name);
            *reference = "#/$defs/" + name;
            if (auto copy = copy_of(text)) {
              name_references(*copy, copies);
              copies[name] = std::move(*copy);
            } else {
              node["$ref"] = text;  // the converter reports what is wrong with it
            }
          } else {
            *reference = "#/$defs/" + known->second;
          }
        }
      }
    }
    if (!node.is_structured()) return;
    for (auto& [key, inner] : node.items()) {
      const bool holds_values =
          node.is_object() && (key == "enum" || key == "const" || key == "default" || key == "examples");
      if (inner.is_structured() && !holds_values) name_references(inner, copies);
    }
  }

  /// Replaces `$ref` by a copy of the schema that it names, merged with the keywords next to it. Returns
  /// false when they cannot be one schema.
  bool resolve(json& schema) {
    for (int i = 0; schema.is_object() && schema.contains("$ref"); ++i) {
      if (i == kMostReferences || !schema["$ref"].is_string()) return false;
      auto copy = copy_of(schema["$ref"].get<std::string>());
      schema.erase("$ref");
      if (!copy || !merge(*copy, schema)) return false;
      schema = std::move(*copy);
    }
    return true;
  }

  /// Merges all parts of `allOf` with the keywords next to it. Returns false when they cannot be one schema.
  bool join(json& schema) {
    if (!resolve(schema)) return false;
    if (!schema.is_object() || !schema.contains("allOf")) return true;
    const json parts = schema["allOf"];
    if (!parts.is_array()) return false;
    schema.erase("allOf");
    for (json part : parts) {
      if (!join(part) || !merge(schema, part)) return false;
    }
    return true;
  }

  /// Merges the keywords next to the alternatives into each alternative. Returns false when that is not
  /// possible.
  bool spread(json& schema, const char* keyword) {
    json beside = json::object();
    for (const auto& [key, value] : schema.items()) {
      if (key != keyword && !says_nothing(key)) beside[key] = value;
    }
    json alternatives = schema[keyword];
    if (!alternatives.is_array()) return false;
    copied_ += beside.dump().size() * alternatives.size();
    if (copied_ > kMostCopied) return false;
    for (json& one : alternatives) {
      json part = one;
      if (!join(part)) return false;
      json both = beside;
      if (!merge(both, part)) return false;
      if (both.size() != part.size() || !contains_all(part, both)) one = std::move(both);
    }
    for (const auto& [key, value] : beside.items()) schema.erase(key);
    schema[keyword] = std::move(alternatives);
    return true;
  }
  static bool contains_all(const json& part, const json& both) {
    return std::ranges::all_of(both.items(), [&](const auto& item) {
      return part.contains(item.key()) && part[item.key()] == item.value();
    });
  }

  /// The keywords next to `keyword` that have a meaning.
  static std::vector<std::string> beside(const json& schema, const char* keyword) {
    std::vector<std::string> out;
    for (const auto& [key, value] : schema.items()) {
      if (key != keyword && !says_nothing(key)) out.push_back(key);
    }
    return out;
  }
  void leave_out(json& schema, const std::vector<std::string>& keywords, const std::string& path) {
    for (const std::string& keyword : keywords) {
      report(keyword, path);
      schema.erase(keyword);
    }
  }

  /// Rewrites the schema so that one keyword decides, and no keyword next to it counts.
  void make_one(json& schema, const std::string& path) {
    if (schema.contains("allOf") || (schema.contains("$ref") && !beside(schema, "$ref").empty())) {
      json joined = schema;
      if (can_merge_ && join(joined)) {
        schema = std::move(joined);
      } else if (schema.contains("$ref")) {
        leave_out(schema, beside(schema, "$ref"), path);
      } else {
        leave_out(schema, {"allOf"}, path);
      }
    }
    if (schema.contains("oneOf") && schema.contains("anyOf")) leave_out(schema, {"anyOf"}, path);
    const char* const keyword = schema.contains("oneOf") ? "oneOf" : "anyOf";
    if (!schema.contains(keyword) || beside(schema, keyword).empty()) return;
    json spread_out = schema;
    if (can_merge_ && spread(spread_out, keyword)) {
      schema = std::move(spread_out);
    } else {
      leave_out(schema, beside(schema, keyword), path);
    }
  }

  /// Whether a schema has keywords that make_one() has to merge.
  static bool needs_one(const json& schema) {
    if (schema.contains("allOf")) return true;
    for (const char* const keyword : {"$ref", "oneOf", "anyOf"}) {
      if (schema.contains(keyword) && !beside(schema, keyword).empty()) return true;
    }
    return false;
  }

  void visit(json& schema, const std::string& path) {
    if (!schema.is_object()) return;
    // A schema that only wraps a reference becomes that reference.
    if (schema.contains("allOf") && schema["allOf"].is_array() && schema["allOf"].size() == 1 &&
        beside(schema, "allOf").empty() && schema["allOf"][0].is_object() && schema["allOf"][0].size() == 1 &&
        schema["allOf"][0].contains("$ref")) {
      schema["$ref"] = json(schema["allOf"][0]["$ref"]);
      schema.erase("allOf");
    }
    if (needs_one(schema)) {
      if (&schema != &root_) {
        // The schema gets a name, because the schemas that it refers to may contain it again.
        const std::string text = schema.dump();
        const auto [known, is_new] = merged_.try_emplace(text, "");
        if (is_new) {
          const std::string name = known->second = fresh_name();
          make_one(schema, path);
          visit(schema, path);
          written_[name] = std::move(schema);
        }
        schema = {{"$ref", "#/$defs/" + merged_.at(text)}};
        return;
      }
      make_one(schema, path);
    }
    visit_values(schema);
    visit_list(schema, path);
    visit_object(schema, path);
    for (const char* const keyword : kMapsOfSchemas) {
      if (!schema.contains(keyword) || !schema[keyword].is_object()) continue;
      for (auto& [name, inner] : schema[keyword].items())
        visit_inner(inner, fmt::format("{}/{}/{}", path, keyword, name));
    }
    for (const char* const keyword : kListsOfSchemas) {
      if (!schema.contains(keyword) || !schema[keyword].is_array()) continue;
      for (std::size_t i = 0; i < schema[keyword].size(); ++i)
        visit_inner(schema[keyword][i], fmt::format("{}/{}/{}", path, keyword, i));
    }
    for (const char* const keyword : kSchemas) {
      if (schema.contains(keyword)) visit(schema[keyword], fmt::format("{}/{}", path, keyword));
    }
  }
  void visit_inner(json& schema, const std::string& path) {
    if (schema == json(true)) schema = json::object();
    visit(schema, path);
  }

  /// Removes `enum` values of other types than `type`, and rewrites `exclusiveMinimum: true` of older
  /// schemas.
  static void visit_values(json& schema) {
    if (schema.contains("enum") && schema["enum"].is_array() && schema.contains("type")) {
      const auto types = names_of(schema["type"]);
      json fitting = json::array();
      for (const json& value : schema["enum"]) {
        if (std::ranges::any_of(types, [&](const std::string& type) { return is_of_type(value, type); }))
          fitting.push_back(value);
      }
      if (!fitting.empty()) schema["enum"] = std::move(fitting);
    }
    for (const auto& [bound, exclusive] :
         {std::pair("minimum", "exclusiveMinimum"), std::pair("maximum", "exclusiveMaximum")}) {
      if (!schema.contains(exclusive) || !schema[exclusive].is_boolean()) continue;
      const bool excludes = schema[exclusive].get<bool>() && schema.contains(bound);
      schema.erase(exclusive);
      if (!excludes) continue;
      schema[exclusive] = json(schema[bound]);
      schema.erase(bound);
    }
  }

  void visit_list(json& schema, const std::string& path) {
    if (schema.contains("prefixItems")) {
      if (schema.contains("items") && schema["items"].is_object()) report("items", path);
      schema.erase("items");
    }
    for (const char* const keyword : {"prefixItems", "items"}) {
      if (!schema.contains(keyword) || !schema[keyword].is_array()) continue;
      // The converter's lists have exactly as many items as are listed.
      const std::size_t count = schema[keyword].size();
      if (schema.contains("minItems") && schema["minItems"] > count) report("minItems", path);
      if (schema.contains("maxItems") && schema["maxItems"] < count) report("maxItems", path);
    }
    if (!schema.contains("items") || !schema["items"].is_boolean()) return;
    const bool any = schema["items"].get<bool>();
    schema.erase("items");
    if (any) return;
    schema["items"] = json::object();
    schema["maxItems"] = 0;
  }

  /// Adds the properties that only `required` names, and removes properties that may not occur.
  void visit_object(json& schema, const std::string& path) {
    if (schema.contains("properties") && schema["properties"].is_object()) {
      const auto required =
          schema.contains("required") ? names_of(schema["required"]) : std::set<std::string>();
      json& properties = schema["properties"];
      for (auto at = properties.begin(); at != properties.end();) {
        if (*at == json(false) && !required.contains(at.key())) {
          at = properties.erase(at);
        } else {
          ++at;
        }
      }
    }
    if (!schema.contains("required") || !schema["required"].is_array() || schema["required"].empty()) return;
    const bool is_object = has_any(schema, {"properties"}) ||
                           (schema.contains("type") && names_of(schema["type"]).contains("object"));
    const bool had_properties = schema.contains("properties");
    const json others =
        schema.contains("additionalProperties") ? json(schema["additionalProperties"]) : json(true);
    if (had_properties && !schema["properties"].is_object()) return;  // the converter refuses this
    for (const std::string& name : names_of(schema["required"])) {
      if (had_properties && schema["properties"].contains(name)) continue;
      if (!is_object || others == json(false)) return report("required", path);
      schema["properties"][name] = others.is_object() ? others : json::object();
    }
    if (!had_properties && !schema.contains("additionalProperties")) schema["additionalProperties"] = true;
  }

  json& root_;
  std::vector<std::string>& not_enforced_;
  std::map<std::string, std::string> named_;   // the new names of references, by the text of the reference
  std::map<std::string, std::string> merged_;  // the names of merged schemas, by their JSON before merging
  json written_ = json::object();              // the merged schemas, by their names
  int names_ = 0;
  int copies_ = 0;
  std::size_t copied_ = 0;
  bool can_merge_ = true;
};

}  // namespace

void merge_schema(json& schema, std::vector<std::string>& not_enforced) {
  if (!schema.is_object() || (schema.contains("$defs") && !schema["$defs"].is_object())) return;
  Merger(schema, not_enforced).all();
}

}  // namespace brimful::constraint
