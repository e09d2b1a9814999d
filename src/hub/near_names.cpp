#include "hub/near_names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/suggest.h"
#include "base/visible_text.h"
#include "hub/http_headers.h"
#include "hub/json_request.h"

namespace brimful::hub {
namespace {

constexpr std::size_t kMostNamed = 3;
constexpr Bytes kLargestAnswer = kMiB * 4;

/// The names of the repositories that the hub finds for `query`, in its order.
std::vector<std::string> found(Http& http, const std::string& query) {
  std::vector<std::string> out;
  std::string next;
  const std::string url =
      fmt::format("{}/api/models?filter=gguf&sort=downloads&{}", http.settings().endpoint, query);
  const auto list = get_json(http, url, kLargestAnswer, next);
  if (!list || !list->is_array()) return out;
  for (const auto& entry : *list) {
    if (!entry.is_object()) continue;
    const std::string name = text_of(entry, "id");
    if (name.contains('/') && name.size() < 200) out.push_back(visible_text(name));
  }
  return out;
}

}  // namespace

std::string near_names(Http& http, const std::string& repository) {
  const std::size_t slash = std::min(repository.find('/'), repository.size() - 1);
  // A mistyped repository: the nearest of its organisation.
  std::vector<std::string> names =
      found(http, fmt::format("limit=500&author={}", percent_encoded(repository.substr(0, slash))));
  std::ranges::stable_sort(names, {},
                           [&](const std::string& name) { return edit_distance(repository, name); });
  const std::size_t most = std::max<std::size_t>(3, (repository.size() - slash) / 2);
  std::erase_if(names, [&](const std::string& name) { return edit_distance(repository, name) > most; });
  // A mistyped organisation, or a repository whose GGUF files others have made.
  if (names.empty()) {
    std::string_view what = std::string_view(repository).substr(slash + 1);
    if (lower(what).ends_with("-gguf")) what.remove_suffix(5);
    names = found(http, fmt::format("limit={}&search={}", kMostNamed, percent_encoded(what)));
  }
  std::erase(names, repository);
  if (names.empty()) return {};
  names.resize(std::min(names.size(), kMostNamed));
  return fmt::format("; the hub has {}", fmt::join(names, ", "));
}

}  // namespace brimful::hub
