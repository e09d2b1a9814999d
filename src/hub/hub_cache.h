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
  /// What stands after the colon of the model's name, see tag_of(); empty when nothing has to.
  std::string tag;
  /// The folder of the repository in the cache that has it.
  std::filesystem::path folder;
  /// The file, or the first part.
  std::filesystem::path file;
  /// The names of all parts, and the blobs that they lead to, in the same order.
  std::vector<std::filesystem::path> files;
  std::vector<std::filesystem::path> blobs;
  /// The size of all parts together.
  Bytes size;
  /// The time of the last change of a part.
  std::filesystem::file_time_type changed = std::filesystem::file_time_type::min();

  /// The name by which commands take the model: `repository:quantisation`; without the latter when the file
  /// has none, and with the file's path where several files have the same.
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
  /// `also`: further caches of the same layout in which models are found, and into which nothing is written.
  explicit HubCache(std::filesystem::path folder, std::vector<std::filesystem::path> also = {})
      : folder_(std::move(folder)), also_(std::move(also)) {}
  /// The cache that the variables HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME name, as huggingface_hub does.
  /// Models are also found in LLAMA_CACHE, where llama.cpp keeps them when this variable is set.
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
  /// Gives a model a second name, `repository`, without a second copy on the disk: its blobs are linked there
  /// (hard links), so that each name can be removed alone. Requires: `repository` is a name that
  /// parse_hub_model() accepted. Returns the new name. Errors: kInvalidArgument when this name has a model of
  /// the same path already; kIo.
  [[nodiscard]] Result<CachedModel> copy(const CachedModel& model, const std::string& repository) const;
  /// Removes a model: its names in all commits, and its blobs where no other name leads to them. A repository
  /// of which nothing is left is removed. Returns the bytes that the disk gets back. A process that has a
  /// file open keeps it. Errors: kIo.
  [[nodiscard]] Result<Bytes> remove(const CachedModel& model) const;
  /// Removes the unfinished downloads of a repository. Returns their bytes. Errors: kIo, also while one of
  /// them runs.
  [[nodiscard]] Result<Bytes> remove_unfinished(std::string_view repository) const;

 private:
  std::filesystem::path folder_;
  std::vector<std::filesystem::path> also_;
};

/// The name of the model whose file `path` is in a cache of this layout, such as `organisation/repository:
/// Q4_K_M`; empty for any other file. Pure.
[[nodiscard]] std::string cached_name(const std::filesystem::path& path);

/// Whether `path` names a file inside a repository, and nothing outside of it: no `..`, no empty part, no
/// control character. Pure.
[[nodiscard]] bool is_safe_path(std::string_view path);
/// Whether `text` is the hash of a blob or a commit: 40 or 64 hexadecimal digits in lower case. Pure.
[[nodiscard]] bool is_hash(std::string_view text);

}  // namespace brimful::hub
