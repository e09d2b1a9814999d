#include "hub/model_source.h"

#include <fmt/format.h>

#include <system_error>
#include <utility>
#include <vector>

#include "hub/fetch_model.h"
#include "hub/http_headers.h"
#include "hub/remote_header.h"
#include "hub/repository.h"

namespace brimful::hub {
namespace {

bool is_path(const ModelSource& source) {
  const std::string start = lower(source.model.substr(0, 8));
  return source.hub.empty() && !start.starts_with("http://") && !start.starts_with("https://");
}

/// Returns the address to fetch: `source.model`, or the address that the hub has for the name.
Result<std::string> address_of(Http& http, const ModelSource& source) {
  if (source.hub.empty()) return source.model;
  BRIMFUL_TRY(const HubModel model, parse_hub_model(source.hub));
  return find_model(http, model);
}

}  // namespace

Result<std::filesystem::path> path_of(const std::string& model, const HubCache& cache) {
  std::error_code unknown;
  if (model.empty() || model.ends_with(".gguf") || std::filesystem::exists(model, unknown)) return model;
  const auto name = parse_hub_model(model);
  if (!name) return model;
  auto cached = cache.find(*name);
  if (cached) return std::move(cached->file);
  return fail(ErrorCode::kNotFound, fmt::format("{}: there is no such file, and {}; -hf {} downloads it",
                                                model, cached.error().message, model));
}

Result<LocalModel> locate(const ModelSource& source) {
  // A path needs no settings, so errors in the environment do not matter.
  if (is_path(source)) return locate(source, Settings());
  BRIMFUL_TRY(const Settings settings, settings_from_environment());
  return locate(source, settings);
}

Result<LocalModel> locate(const ModelSource& source, const Settings& settings) {
  if (source.model.empty() == source.hub.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "name one model: -m FILE, -m ADDRESS or -hf ORGANISATION/REPOSITORY[:QUANTISATION]");
  }
  if (is_path(source)) {
    BRIMFUL_TRY(std::filesystem::path path, path_of(source.model, HubCache::of_environment()));
    return LocalModel{.path = std::move(path)};
  }
  if (!source.hub.empty()) {
    BRIMFUL_TRY(const HubModel model, parse_hub_model(source.hub));
    BRIMFUL_TRY(const auto cached, without_the_hub(HubCache::of_environment(), model, settings.offline));
    if (cached) return LocalModel{.path = cached->file};
  }
  BRIMFUL_TRY(Http http, Http::open(settings));
  BRIMFUL_TRY(const std::string address, address_of(http, source));
  BRIMFUL_TRY(TemporaryFolder folder, TemporaryFolder::make());
  BRIMFUL_TRY(const std::vector<std::filesystem::path> files, fetch_headers(http, address, folder.path()));
  return LocalModel{.path = files.front(), .folder = std::move(folder)};
}

}  // namespace brimful::hub
