#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"
#include "hub/hub_cache.h"
#include "hub/settings.h"
#include "hub/temporary_folder.h"

namespace brimful::hub {

/// The name of a model, as the user gave it. Exactly one of the two is not empty.
struct ModelSource {
  /// The value of -m: a path, or an http:// or https:// address.
  std::string model;
  /// The value of -hf: ORGANISATION/REPOSITORY[:QUANTISATION].
  std::string hub;
};

/// A model that can be read from its path. Lifetime: fetched headers are removed together with this object.
struct LocalModel {
  /// The argument for read_model: the file, or the first part of a split model.
  std::filesystem::path path;
  /// The folder with the fetched headers. Unset when the user named a file.
  std::optional<TemporaryFolder> folder = std::nullopt;

  /// Whether only the header was fetched. read_model then needs Weights::kMayBeMissing. Weights may also be
  /// missing from a user's own file, which only its header tells.
  [[nodiscard]] bool header_only() const { return folder.has_value(); }
};

/// Returns the file that a value of -m means: a path as it is, and for a name `organisation/repository
/// [:quantisation]` that is no file, the model of this name in the cache.
/// Errors: kNotFound when the cache does not have it.
[[nodiscard]] Result<std::filesystem::path> path_of(const std::string& model, const HubCache& cache);

/// Makes a model readable by a path. A path is returned as path_of() does, and nothing is read from it. So is
/// a name of the hub whose file is in the cache. For others, and for an address, the headers are fetched into
/// a temporary folder.
/// Errors: those of settings_from_environment, parse_hub_model, find_model and fetch_headers;
/// kInvalidArgument unless exactly one model is named. Blocks: on the network.
[[nodiscard]] Result<LocalModel> locate(const ModelSource& source);
/// Does the same with the given settings, and does not read the environment.
[[nodiscard]] Result<LocalModel> locate(const ModelSource& source, const Settings& settings);

}  // namespace brimful::hub
