#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/http.h"

/// Models in the hub's repositories. Their names have the form of llama.cpp's -hf.
namespace brimful::hub {

/// The parts of a model's name `organisation/repository[:quantisation]`.
struct HubModel {
  /// `organisation/repository`.
  std::string repository;
  /// The quantisation, or the path of a file of the repository, which ends in `.gguf`. Unset: the name leaves
  /// it open, as Ollama's `:latest` does.
  std::optional<std::string> quantisation;
};

/// Parses a model's name. The address of the model's page, or of a file of it, on huggingface.co is a name,
/// too. Errors: kInvalidArgument for a text of another form; the message says how to write it. Pure.
[[nodiscard]] Result<HubModel> parse_hub_model(std::string_view text);

/// Chooses a model among the files of a repository. It is the first file with the quantisation in its name
/// or, failing that, in the name of its folder. Without a quantisation it is a file with Q4_K_M, else one
/// with another type of 4 bits, else the smallest type of more than 4 bits that is usual, else the first file
/// (docs/design-models.md says why). For a split model it is the first part. Files that belong to a model but
/// are none (a projector, an importance matrix, a draft) are never chosen. Pure.
/// Errors: kNotFound; the message lists the quantisations that the repository has, and names the nearest.
[[nodiscard]] Result<std::string> choose_file(std::span<const std::string> paths,
                                              const std::optional<std::string>& quantisation);

/// Whether a path of a repository is one that choose_file() may choose: a model, and of a split model the
/// first part. Pure.
[[nodiscard]] bool is_model_file(std::string_view path);

/// What a name has to say after its colon so that choose_file() chooses `path`: the quantisation, or else the
/// path itself; empty when nothing has to be said. Requires: `path` is one of `paths`. Pure.
[[nodiscard]] std::string tag_of(std::span<const std::string> paths, const std::string& path);

/// The quantisation in the name of a file or, failing that, of its folder, in capitals; empty when there is
/// none. Pure.
[[nodiscard]] std::string quantisation_of(std::string_view path);

/// A file in a repository.
struct RemoteFile {
  std::string path;
  /// The size in bytes.
  std::uint64_t size = 0;
  /// The sha256 of the file; of a file outside LFS, the sha1 of git.
  std::string hash;
};

/// The files of a repository at one commit.
struct RemoteFiles {
  std::string commit;
  std::vector<RemoteFile> files;

  [[nodiscard]] std::vector<std::string> paths() const;
  /// Returns the file at `path`, or null.
  [[nodiscard]] const RemoteFile* find(std::string_view path) const;
};

/// Asks the hub which commit `main` is, and which files this commit has.
/// Errors: those of Http::get; kCorrupt when the hub's answers have another form, or name a file that would
/// lie outside its repository. Blocks: on the network.
[[nodiscard]] Result<RemoteFiles> list_files(Http& http, const std::string& repository);

/// The address of a file at a commit or a branch.
[[nodiscard]] std::string address_of(const Settings& settings, std::string_view repository,
                                     std::string_view revision, std::string_view path);

/// Asks the hub for the files of a repository, and returns the address of the file that choose_file()
/// chooses.
/// Errors: those of Http::get and choose_file; kCorrupt when the hub's answer is no list of files. Blocks:
/// on the network.
[[nodiscard]] Result<std::string> find_model(Http& http, const HubModel& model);

}  // namespace brimful::hub
