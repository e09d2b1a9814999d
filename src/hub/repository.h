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
  std::optional<std::string> quantisation;
};

/// Parses a model's name. Errors: kInvalidArgument for a text of another form. Pure.
[[nodiscard]] Result<HubModel> parse_hub_model(std::string_view text);

/// Chooses a model among the files of a repository. It is the first file with the quantisation in its name
/// or, failing that, in the name of its folder. Without a quantisation it is a file with Q4_K_M, else one
/// with another Q4_, else the first file. For a split model it is the first part. Files that belong to a
/// model but are none (a projector, an importance matrix, a draft) are never chosen. Pure.
/// Errors: kNotFound; the message lists the quantisations that the repository has.
[[nodiscard]] Result<std::string> choose_file(std::span<const std::string> paths,
                                              const std::optional<std::string>& quantisation);

/// Whether a path of a repository is one that choose_file() may choose: a model, and of a split model the
/// first part. Pure.
[[nodiscard]] bool is_model_file(std::string_view path);

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
