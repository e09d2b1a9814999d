#include "openai/fields.h"

#include <fmt/format.h>

#include <cmath>

namespace brimful::openai {
const nlohmann::ordered_json* Fields::find(const char* name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::unexpected<Error> Fields::refuse(const char* name, const std::string& why) const {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}{}: {}", path_, name, why));
}

Result<std::optional<double>> Fields::number(const char* name, double least, double most) const {
  const nlohmann::ordered_json* const value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || !(value->get<double>() >= least && value->get<double>() <= most))
    return refuse(name, fmt::format("must be a number from {} to {}", least, most));
  return value->get<double>();
}

Result<std::optional<std::int64_t>> Fields::integer(const char* name, std::int64_t least,
                                                    std::int64_t most) const {
  const nlohmann::ordered_json* const value = find(name);
  if (value == nullptr) return std::nullopt;
  // Some clients write whole numbers as 8.0.
  if (value->is_number_float()) {
    const double given = value->get<double>();
    constexpr double kExact = 9007199254740992;  // up to here, each whole number has its own double
    if (given == std::floor(given) && std::abs(given) <= kExact && given >= static_cast<double>(least) &&
        given <= static_cast<double>(most))
      return static_cast<std::int64_t>(given);
  }
  const bool too_large = value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX;
  if (!value->is_number_integer() || too_large || value->get<std::int64_t>() < least ||
      value->get<std::int64_t>() > most)
    return refuse(name, fmt::format("must be an integer from {} to {}", least, most));
  return value->get<std::int64_t>();
}

Result<std::optional<bool>> Fields::boolean(const char* name) const {
  const nlohmann::ordered_json* const value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return refuse(name, "must be true or false");
  return value->get<bool>();
}

Result<std::optional<std::string>> Fields::text(const char* name) const {
  const nlohmann::ordered_json* const value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return refuse(name, "must be a string");
  return value->get<std::string>();
}

Result<std::vector<std::string>> Fields::texts(const char* name) const {
  const nlohmann::ordered_json* const value = find(name);
  if (value == nullptr) return std::vector<std::string>{};
  if (value->is_string()) return std::vector{value->get<std::string>()};
  std::vector<std::string> out;
  if (!value->is_array()) return refuse(name, "must be a string or an array of strings");
  for (const nlohmann::ordered_json& one : *value) {
    if (!one.is_string()) return refuse(name, "must be a string or an array of strings");
    out.push_back(one.get<std::string>());
  }
  return out;
}

std::optional<std::string> field_of(const std::string& message) {
  const std::size_t colon = message.find(": ");
  if (colon == std::string::npos || message.find(' ') < colon) return std::nullopt;
  return message.substr(0, colon);
}

}  // namespace brimful::openai
