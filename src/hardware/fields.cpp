#include "hardware/fields.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

namespace brimful::hardware {
namespace {

const nlohmann::json kEmpty = nlohmann::json::object();

}  // namespace

Fields::Fields(const nlohmann::json& object, std::string path, std::string& problem)
    : object_(&object), path_(std::move(path)), problem_(&problem) {
  if (object.is_object()) return;
  if (problem_->empty())
    *problem_ = path_.empty() ? "it holds no fields" : fmt::format("{} must be a group of fields", path_);
  object_ = &kEmpty;
}

std::string Fields::name_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void Fields::refuse(std::string_view key, std::string_view what) {
  if (problem_->empty()) *problem_ = fmt::format("{} {}", name_of(key), what);
}

bool Fields::has(std::string_view key) const {
  const auto found = object_->find(key);
  return found != object_->end() && !found->is_null();
}

const nlohmann::json* Fields::find(std::string_view key) {
  const auto found = object_->find(key);
  if (found != object_->end()) return &*found;
  refuse(key, "is missing");
  return nullptr;
}

std::string Fields::text(std::string_view key) {
  const nlohmann::json* value = find(key);
  if (value != nullptr && value->is_string()) return value->get<std::string>();
  refuse(key, "must be a text");
  return {};
}

std::vector<std::string> Fields::texts(std::string_view key) {
  std::vector<std::string> all;
  const nlohmann::json* value = find(key);
  if (value == nullptr || !value->is_array()) {
    refuse(key, "must be a list of texts");
    return all;
  }
  for (const nlohmann::json& element : *value) {
    if (element.is_string())
      all.push_back(element.get<std::string>());
    else
      refuse(key, "must be a list of texts");
  }
  return all;
}

bool Fields::flag(std::string_view key) {
  const nlohmann::json* value = find(key);
  if (value != nullptr && value->is_boolean()) return value->get<bool>();
  refuse(key, "must be true or false");
  return false;
}

std::uint32_t Fields::count(std::string_view key) {
  const nlohmann::json* value = find(key);
  if (value != nullptr && value->is_number_unsigned()) {
    const auto number = value->get<std::uint64_t>();
    if (number >= 1 && number <= std::numeric_limits<std::int32_t>::max())
      return static_cast<std::uint32_t>(number);
  }
  refuse(key, "must be a whole number from 1");
  return 1;
}

Bytes Fields::bytes(std::string_view key) {
  constexpr Bytes kMost{1ULL << 60};
  const nlohmann::json* value = find(key);
  if (value != nullptr && value->is_number_unsigned()) {
    const Bytes number{value->get<std::uint64_t>()};
    if (number <= kMost) return number;
  } else if (value != nullptr && value->is_string()) {
    const auto number = parse_bytes(value->get_ref<const std::string&>());
    if (number && *number <= kMost) return *number;
  }
  refuse(key, "must be a number of bytes");
  return {};
}

double Fields::number(std::string_view key, double smallest, double largest, std::string_view what) {
  const nlohmann::json* value = find(key);
  if (value != nullptr && value->is_number()) {
    const auto number = value->get<double>();
    if (number >= smallest && number <= largest) return number;  // A NaN fails both comparisons.
  }
  refuse(key, what);
  return smallest;
}

double Fields::rate(std::string_view key) {
  return number(key, 1, 1e18, "must be a rate: a number from 1 to 1e18, each second");
}

double Fields::seconds(std::string_view key) {
  return number(key, 0, 1000, "must be a number of seconds, from 0 to 1000");
}

double Fields::processors(std::string_view key) {
  return number(key, 0, 1e6, "must be a number of processors, from 0 to 1000000");
}

double Fields::share(std::string_view key) {
  return number(key, std::numeric_limits<double>::min(), 1, "must be a share: above 0, at most 1");
}

Fields Fields::part(std::string_view key) {
  const nlohmann::json* value = find(key);
  return {value == nullptr ? kEmpty : *value, name_of(key), *problem_};
}

std::vector<Fields> Fields::list(std::string_view key) {
  std::vector<Fields> all;
  const nlohmann::json* value = find(key);
  if (value == nullptr || !value->is_array()) {
    refuse(key, "must be a list");
    return all;
  }
  for (std::size_t i = 0; i < value->size(); ++i)
    all.emplace_back((*value)[i], fmt::format("{}[{}]", name_of(key), i), *problem_);
  return all;
}

}  // namespace brimful::hardware
