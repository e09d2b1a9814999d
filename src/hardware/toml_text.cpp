#include "hardware/toml_text.h"

#include <fmt/format.h>

#include <sstream>

// For some malformed texts (`[[[`), toml++ 3.3 asserts a condition that its next lines check and refuse. In
// builds with NDEBUG it lets the compiler assume that condition (its issue 294). Both are switched off here.
#undef NDEBUG
#define TOML_ASSERT(condition) static_cast<void>(0)
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace brimful::hardware {
namespace {

using nlohmann::json;

json to_json(const toml::node& node) {
  if (const toml::table* table = node.as_table()) {
    json object = json::object();
    for (const auto& [key, value] : *table) object[std::string(key.str())] = to_json(value);
    return object;
  }
  if (const toml::array* array = node.as_array()) {
    json list = json::array();
    for (const toml::node& element : *array) list.push_back(to_json(element));
    return list;
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* real = node.as_floating_point()) return real->get();
  if (const auto* whole = node.as_integer()) {
    if (whole->get() >= 0) return static_cast<std::uint64_t>(whole->get());
    return whole->get();
  }
  std::ostringstream text;
  if (const auto* date = node.as_date()) text << date->get();
  if (const auto* time = node.as_time()) text << time->get();
  if (const auto* both = node.as_date_time()) text << both->get();
  return text.str();
}

}  // namespace

Result<json> parse_toml(std::string_view text, std::string_view name) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed)
    return fail(ErrorCode::kCorrupt, fmt::format("{}, line {}: {}", name, parsed.error().source().begin.line,
                                                 parsed.error().description()));
  return to_json(parsed.table());
}

}  // namespace brimful::hardware
