#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "hub/download.h"
#include "hub/hub_cache.h"
#include "hub/temporary_folder.h"

namespace brimful::hub {

/// A model of the hub: its files at one commit.
struct HubFiles {
  HubModel name;
  std::string commit;
  /// The file, or all parts of a split model in their order.
  std::vector<RemoteFile> files;

  [[nodiscard]] Bytes size() const;
  /// The quantisation in the file's name; empty when there is none.
  [[nodiscard]] std::string quantisation() const { return quantisation_of(files.front().path); }
};

/// Asks the hub for a model, and chooses its file as choose_file() does.
/// Errors: those of list_files() and choose_file(), with the names of repositories that may be meant;
/// kUnsupported in offline mode; kCorrupt for a file whose path would lie outside the repository, without a
/// hash, or a split model of which a part is missing. Blocks: on the network.
[[nodiscard]] Result<HubFiles> find_files(Http& http, const HubModel& model);

/// Asks the hub for all models of a repository: each has the name by which it is asked for alone. A split
/// model of which a part is missing is left out. `model` names no quantisation.
/// Errors: those of find_files(). Blocks: on the network.
[[nodiscard]] Result<std::vector<HubFiles>> find_all_files(Http& http, const HubModel& model);

/// Fetches the headers of a model's files into a folder, as fetch_headers() does.
[[nodiscard]] Result<std::filesystem::path> fetch_headers_of(Http& http, const HubFiles& model,
                                                             const std::filesystem::path& folder);

/// Downloads all files of a model into the cache, and returns the path of the first one there. What is there
/// already is not fetched again. `begins` is called for each file that is fetched, with its number from 0.
/// Errors: those of download(); kNoSpace when all files together need more space than is free.
[[nodiscard]] Result<std::filesystem::path> download_model(
    const Settings& settings, const HubCache& cache, const HubFiles& model,
    const std::function<DownloadListener(const RemoteFile&, std::size_t number)>& listener);

/// The model of this name in the cache, where the cache has exactly what the name asks for: this
/// quantisation, or for a name without one, the one that the hub would give. Nullopt when only the hub knows.
[[nodiscard]] std::optional<CachedModel> exactly_in(const HubCache& cache, const HubModel& model);
/// The same where the hub may be asked; nullopt: ask it. When it may not (`offline`), the best that the cache
/// has for this name. Errors: in offline mode, those of HubCache::find().
[[nodiscard]] Result<std::optional<CachedModel>> without_the_hub(const HubCache& cache, const HubModel& model,
                                                                 bool offline);

}  // namespace brimful::hub
