#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"
#include "hub/settings.h"
#include "hub/temporary_folder.h"

namespace brimful::hub {

/// How a user names a model. Requires: one of the two is empty.
struct ModelSource {
  std::string model;  ///< -m: a path, or an http:// or https:// address
  std::string hub;    ///< -hf: ORGANISATION/REPOSITORY[:QUANTISATION]
};

/// A model that can be read by its path, as long as this lives.
struct LocalModel {
  std::filesystem::path path;  ///< the file, or the first part of a split model: for read_model
  std::optional<TemporaryFolder> folder = std::nullopt;  ///< holds the headers, where they were fetched

  /// Its weights are not there: read_model takes it with Weights::kMayBeMissing. (They may also be missing
  /// from a user's file: only the header tells.)
  [[nodiscard]] bool header_only() const { return folder.has_value(); }
};

/// Where the model can be read: a path stays as it is, and is not looked at; else its header is fetched.
/// Blocks: on the network. Errors: those of settings_from_environment, parse_hub_model, find_model and
/// fetch_headers; kInvalidArgument where no model is named.
[[nodiscard]] Result<LocalModel> locate(const ModelSource& source);
[[nodiscard]] Result<LocalModel> locate(const ModelSource& source, const Settings& settings);

}  // namespace brimful::hub
