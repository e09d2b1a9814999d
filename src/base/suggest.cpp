#include "base/suggest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <vector>

namespace brimful {
namespace {

// Names are short. A longer word is no mistyped name, and the cost of a comparison is its length times that
// of a name.
constexpr std::size_t kLongestWord = 64;
constexpr std::size_t kShortestBeginning = 4;  // Shorter beginnings fit too many names.

bool same(char a, char b) {
  return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

std::size_t steps_allowed(std::size_t length) { return std::clamp<std::size_t>(length / 3, 1, 3); }

std::string_view without_dashes(std::string_view name) {
  const std::size_t begin = name.find_first_not_of('-');
  return begin == std::string_view::npos ? std::string_view() : name.substr(begin);
}

bool begins(std::string_view word, std::string_view name) {
  return word.size() >= 3 && word.size() < name.size() &&
         std::ranges::equal(word, name.substr(0, word.size()), same);
}

/// Finds the only name whose beginning was mistyped, such as `--input-file` for `--inptu`.
std::optional<std::string> nearest_beginning(std::string_view word, std::span<const std::string> names) {
  if (word.size() < kShortestBeginning) return std::nullopt;
  const std::string* best = nullptr;
  std::size_t count = 0;
  for (const std::string& name : names) {
    const std::string_view plain = without_dashes(name);
    if (plain.size() <= word.size() || edit_distance(word, plain.substr(0, word.size())) > 1) continue;
    best = &name;
    ++count;
  }
  if (count != 1) return std::nullopt;
  return *best;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> now(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1);
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
        now[j] = std::min(now[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, now);
  }
  return last[b.size()];
}

std::optional<std::string> nearest(std::string_view word, std::span<const std::string> names) {
  const std::string_view plain = without_dashes(word);
  if (plain.empty() || plain.size() > kLongestWord) return std::nullopt;
  const std::string* best = nullptr;
  std::size_t fewest = steps_allowed(plain.size()) + 1;
  const std::string* begun = nullptr;
  std::size_t begun_names = 0;
  for (const std::string& name : names) {
    const std::string_view plain_name = without_dashes(name);
    // Every letter is one step away from every other letter, so only a longer name can be meant by mistake.
    if (plain_name.size() < 2) continue;
    if (const std::size_t steps = edit_distance(plain, plain_name); steps < fewest) {
      best = &name;
      fewest = steps;
    }
    if (begins(plain, plain_name)) {
      begun = &name;
      ++begun_names;
    }
  }
  if (fewest > 1 && begun_names == 1) return *begun;
  if (best != nullptr) return *best;
  return nearest_beginning(plain, names);
}

std::string suggestion(std::string_view word, std::span<const std::string> names) {
  const auto name = nearest(word, names);
  return name ? fmt::format("; do you mean '{}'?", *name) : std::string();
}

}  // namespace brimful
