#include "hardware/visible_gpus.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <set>
#include <sstream>

namespace brimful::hardware {
namespace {

std::string without_spaces(std::string text) {
  std::erase_if(text, [](char c) { return c == ' ' || c == '\t'; });
  return text;
}

/// The index of the card that a part of the value names. Unset: it names none, or several.
std::optional<std::size_t> card_named(const std::string& part, const std::vector<Gpu>& all) {
  std::size_t index = 0;
  const char* const end = part.data() + part.size();
  const auto [stop, error] = std::from_chars(part.data(), end, index);
  if (error == std::errc() && stop == end) return index < all.size() ? std::optional(index) : std::nullopt;
  if (!part.starts_with("MIG-")) return std::nullopt;
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].instance || !all[i].instance->starts_with(part)) continue;
    if (found) return std::nullopt;
    found = i;
  }
  return found;
}

}  // namespace

std::vector<Gpu> visible_gpus(const std::vector<Gpu>& all, const std::optional<std::string>& visible) {
  if (!visible || visible->find("GPU-") != std::string::npos) return all;
  std::vector<Gpu> out;
  std::set<std::size_t> named;
  std::istringstream parts(*visible);
  for (std::string part; std::getline(parts, part, ',');) {
    const auto index = card_named(without_spaces(part), all);
    if (!index || !named.insert(*index).second) break;
    out.push_back(all[*index]);
  }
  return out;
}

std::optional<std::string> visible_devices() {
  const char* const value = std::getenv("CUDA_VISIBLE_DEVICES");
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

}  // namespace brimful::hardware
