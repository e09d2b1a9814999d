#include "hub/fetch_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "hub/http_headers.h"
#include "hub/near_names.h"
#include "hub/remote_header.h"
#include "model/gguf_reader.h"
#include "model/split_names.h"

namespace brimful::hub {
namespace {

constexpr const char* kUsualQuantisation = "Q4_K_M";

/// Checks what the hub says about a file that is to be fetched.
Status check(const std::string& repository, const RemoteFile& file) {
  const auto wrong = [&](const char* what) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: the hub names the file {}, {}: nothing was fetched",
                                                 repository, model::in_quotes(file.path), what));
  };
  if (!is_safe_path(file.path)) return wrong("which would lie outside the cache");
  if (!is_hash(file.hash)) return wrong("and does not say its hash");
  if (file.size > INT64_MAX) return wrong("with a size that no file has");
  return {};
}

/// Asks the hub for the files of a repository.
Result<RemoteFiles> list(Http& http, const HubModel& model) {
  if (http.settings().offline) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: is not in the cache, and HF_HUB_OFFLINE or --offline forbids to ask the hub",
                            model.repository));
  }
  auto all = list_files(http, model.repository);
  const int status = http.status();
  if (!all && status == 404) {
    all.error().message = fmt::format("{}/{}: the hub has no model of this name (404): check the name",
                                      shown(http.settings().endpoint), model.repository);
  }
  if (!all && (status == 401 || status == 404)) all.error().message += near_names(http, model.repository);
  return all;
}

/// The error of choose_file() with the name of the repository.
Error none_chosen(Http& http, const RemoteFiles& all, const HubModel& model, const Error& error) {
  const std::vector<std::string> paths = all.paths();
  const bool no_model = std::ranges::none_of(paths, is_model_file);
  return {error.code, fmt::format("{}/{}: {}{}", shown(http.settings().endpoint), model.repository,
                                  error.message, no_model ? near_names(http, model.repository) : "")};
}

/// The model at `path`: the file, or all parts of a split model.
Result<HubFiles> parts_of(const RemoteFiles& all, const HubModel& model, const std::string& path) {
  HubFiles out{.name = model, .commit = all.commit, .files = {}};
  const auto split = model::parse_split_name(path);
  const std::uint32_t parts = split ? split->parts : 1;
  for (std::uint32_t part = 1; part <= parts; ++part) {
    const std::string name = split ? split->path_of(part).string() : path;
    const RemoteFile* const file = all.find(name);
    if (file == nullptr) {
      return fail(ErrorCode::kCorrupt, fmt::format("{}: part {} of {} is missing: {}", model.repository, part,
                                                   parts, model::in_quotes(name)));
    }
    BRIMFUL_TRY_VOID(check(model.repository, *file));
    out.files.push_back(*file);
  }
  return out;
}

/// Refuses a model that needs more space than is free, before anything of it is fetched.
Status check_space_for(const HubCache& cache, const HubFiles& model) {
  std::uint64_t needed = 0;
  for (const RemoteFile& file : model.files) {
    const std::filesystem::path blob = cache.blob(model.name.repository, file.hash);
    std::error_code error;
    // The part of a download that has begun has its space reserved.
    const bool there = std::filesystem::exists(blob, error) || std::filesystem::exists(part_of(blob), error);
    if (!there) needed += file.size;
  }
  std::filesystem::path folder = cache.folder();
  std::error_code error;
  while (!std::filesystem::exists(folder, error) && folder.has_relative_path()) folder = folder.parent_path();
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  if (error || space.available >= needed) return {};
  return fail(
      ErrorCode::kNoSpace,
      fmt::format("{}: {} are needed and {} are free: free some space, or name a cache on another disk "
                  "with HF_HUB_CACHE",
                  cache.folder().string(), format_bytes(Bytes{needed}),
                  format_bytes(Bytes{space.available})));
}

}  // namespace

Bytes HubFiles::size() const {
  Bytes out;
  for (const RemoteFile& file : files) out = out + Bytes{file.size};
  return out;
}

Result<HubFiles> find_files(Http& http, const HubModel& model) {
  BRIMFUL_TRY(const RemoteFiles all, list(http, model));
  const auto path = choose_file(all.paths(), model.quantisation);
  if (!path) return std::unexpected(none_chosen(http, all, model, path.error()));
  return parts_of(all, model, *path);
}

Result<std::vector<HubFiles>> find_all_files(Http& http, const HubModel& model) {
  BRIMFUL_TRY(const RemoteFiles all, list(http, model));
  const std::vector<std::string> paths = all.paths();
  if (const auto any = choose_file(paths, std::nullopt); !any)
    return std::unexpected(none_chosen(http, all, model, any.error()));
  std::vector<HubFiles> out;
  std::optional<Error> wrong;
  for (const std::string& path : paths) {
    if (!is_model_file(path)) continue;
    HubModel name = model;
    if (std::string tag = tag_of(paths, path); !tag.empty()) name.quantisation = std::move(tag);
    auto files = parts_of(all, name, path);
    if (files) out.push_back(std::move(*files));
    if (!files && !wrong) wrong = files.error();
  }
  if (out.empty() && wrong) return std::unexpected(std::move(*wrong));
  return out;
}

Result<std::filesystem::path> fetch_headers_of(Http& http, const HubFiles& model,
                                               const std::filesystem::path& folder) {
  BRIMFUL_TRY(
      const std::vector<std::filesystem::path> files,
      fetch_headers(
          http, address_of(http.settings(), model.name.repository, model.commit, model.files.front().path),
          folder));
  return files.front();
}

Result<std::filesystem::path> download_model(
    const Settings& settings, const HubCache& cache, const HubFiles& model,
    const std::function<DownloadListener(const RemoteFile&, std::size_t number)>& listener) {
  const std::string& repository = model.name.repository;
  BRIMFUL_TRY_VOID(check_space_for(cache, model));
  for (std::size_t i = 0; i < model.files.size(); ++i) {
    const RemoteFile& file = model.files[i];
    BRIMFUL_TRY_VOID(download(settings,
                              {.url = address_of(settings, repository, model.commit, file.path),
                               .hash = file.hash,
                               .size = file.size,
                               .blob = cache.blob(repository, file.hash),
                               .lock = cache.lock(repository, file.hash)},
                              listener(file, i)));
    BRIMFUL_TRY_VOID(cache.link(repository, model.commit, file.path, file.hash));
  }
  BRIMFUL_TRY_VOID(cache.set_main(repository, model.commit));
  return cache.snapshot(repository, model.commit, model.files.front().path);
}

std::optional<CachedModel> exactly_in(const HubCache& cache, const HubModel& model) {
  HubModel exact = model;
  if (!exact.quantisation) exact.quantisation = kUsualQuantisation;
  auto found = cache.find(exact);
  if (!found) return std::nullopt;
  return std::move(*found);
}

Result<std::optional<CachedModel>> without_the_hub(const HubCache& cache, const HubModel& model,
                                                   bool offline) {
  if (auto exact = exactly_in(cache, model); exact || !offline) return exact;
  auto any = cache.find(model);
  if (any) return std::move(*any);
  any.error().message += "; HF_HUB_OFFLINE or --offline forbids to ask the hub";
  return std::unexpected(std::move(any.error()));
}

}  // namespace brimful::hub
