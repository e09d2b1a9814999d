#include "model/split_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

namespace brimful::model {
namespace {

constexpr std::string_view kForm = "-00000-of-00000.gguf";
constexpr std::size_t kDigits = 5;

std::optional<std::uint32_t> number(std::string_view digits) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

std::filesystem::path SplitName::path_of(std::uint32_t which) const {
  return stem.string() + fmt::format("-{:05}-of-{:05}.gguf", which, parts);
}

std::optional<SplitName> parse_split_name(const std::filesystem::path& path) {
  const std::string name = path.string();
  if (name.size() <= kForm.size()) return std::nullopt;
  const std::string_view tail = std::string_view(name).substr(name.size() - kForm.size());
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || !tail.ends_with(".gguf")) return std::nullopt;
  const auto part = number(tail.substr(1, kDigits));
  const auto parts = number(tail.substr(10, kDigits));
  if (!part || !parts || *part == 0 || *part > *parts) return std::nullopt;
  return SplitName{name.substr(0, name.size() - kForm.size()), *part, *parts};
}

}  // namespace brimful::model
