#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "hub/repository.h"

namespace brimful::hub {

/// A model in the cache.
struct CachedModel {
  /// `organisation/repository`.
  std::string repository;
  /// The quantisation in the file's name; empty when there is none.
  std::string quantisation;
  /// The path inside the repository; of a split model, that of the first part.
  std::string path;
  /// The file, or the first part.
  std::filesystem::path file;
  /// The names of all parts, and the blobs that they lead to, in the same order.
  std::vector<std::filesystem::path> files;
  std::vector<std::filesystem::path> blobs;
  /// The size of all parts together.
  Bytes size;
  /// The time of the last change of a part.
  std::filesystem::file_time_type changed = std::filesystem::file_time_type::min();

  /// The name by which commands take the model: `repository:quantisation`, without the latter when the file
  /// has none.
  [[nodiscard]] std::string name() const;
};

/// A download that is not finished.
struct UnfinishedFile {
  std::string repository;
  /// The path that the finished file will have.
  std::filesystem::path blob;
  /// The bytes that are there.
  Bytes there;
};

/// Hugging Face's cache on this machine, which other tools share: docs/design-models.md. The functions do not
/// ask the hub. Several processes may use a cache at the same time.
class HubCache {
 public:
  explicit HubCache(std::filesystem::path folder) : folder_(std::move(folder)) {}
  /// The cache that the variables HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME name.
  [[nodiscard]] static HubCache of_environment();

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  // The folders and files of the layout. `repository` is a name that parse_hub_model() accepted.
  [[nodiscard]] std::filesystem::path repository_folder(std::string_view repository) const;
  [[nodiscard]] std::filesystem::path blob(std::string_view repository, std::string_view hash) const;
  [[nodiscard]] std::filesystem::path lock(std::string_view repository, std::string_view hash) const;
  [[nodiscard]] std::filesystem::path snapshot(std::string_view repository, std::string_view commit,
                                               std::string_view path) const;

  /// Makes the link from a file's name to its blob, if it is not there. Requires: is_safe_path(path).
  /// Errors: kIo.
  [[nodiscard]] Status link(std::string_view repository, std::string_view commit, std::string_view path,
                            std::string_view hash) const;
  /// Notes that `main` is `commit`. Errors: kIo.
  [[nodiscard]] Status set_main(std::string_view repository, std::string_view commit) const;

  /// All models whose parts are all there, by name. Of a file that several commits have, the one of `main` is
  /// named. A folder that cannot be read has none.
  [[nodiscard]] std::vector<CachedModel> models() const;
  /// The model of this name. Without a quantisation, choose_file() chooses among those of the repository.
  /// Errors: kNotFound, with the nearest names.
  [[nodiscard]] Result<CachedModel> find(const HubModel& model) const;

  /// The downloads that are not finished, by repository. Some of them may be running.
  [[nodiscard]] std::vector<UnfinishedFile> unfinished() const;
  /// Removes a model: its names in all commits, and its blobs where no other name leads to them. Returns the
  /// bytes of these. A process that has a file open keeps it. Errors: kIo.
  [[nodiscard]] Result<Bytes> remove(const CachedModel& model) const;
  /// Removes the unfinished downloads of a repository. Returns their bytes. Errors: kIo, also while one of
  /// them runs.
  [[nodiscard]] Result<Bytes> remove_unfinished(std::string_view repository) const;

 private:
  std::filesystem::path folder_;
};

/// Whether `path` names a file inside a repository, and nothing outside of it: no `..`, no empty part, no
/// control character. Pure.
[[nodiscard]] bool is_safe_path(std::string_view path);
/// Whether `text` is the hash of a blob or a commit: 40 or 64 hexadecimal digits in lower case. Pure.
[[nodiscard]] bool is_hash(std::string_view text);

}  // namespace brimful::hub
