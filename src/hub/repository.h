#pragma once

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

/// The quantisation in the name of a file or, failing that, of its folder, in capitals; empty when there is
/// none. Pure.
[[nodiscard]] std::string quantisation_of(std::string_view path);

/// Asks the hub for the files of a repository, and returns the address of the file that choose_file()
/// chooses.
/// Errors: those of Http::get and choose_file; kCorrupt when the hub's answer is no list of files. Blocks:
/// on the network.
[[nodiscard]] Result<std::string> find_model(Http& http, const HubModel& model);

}  // namespace brimful::hub
