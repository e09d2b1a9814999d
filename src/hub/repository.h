#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/http.h"

/// Models in the hub's repositories, named as llama.cpp's -hf does.
namespace brimful::hub {

/// `organisation/repository[:quantisation]`
struct HubModel {
  std::string repository;
  std::optional<std::string> quantisation;
};

/// Errors: kInvalidArgument.
[[nodiscard]] Result<HubModel> parse_hub_model(std::string_view text);

/// The file to take of a repository's: that of the quantisation, which may be the name of its folder; without
/// one Q4_K_M, else another Q4_, else the first. Of a split model it is the first part. What belongs to a
/// model but is none (a projector, an importance matrix, a draft) is never taken. Pure.
/// Errors: kNotFound; the message lists the quantisations that are there.
[[nodiscard]] Result<std::string> choose_file(std::span<const std::string> paths,
                                              const std::optional<std::string>& quantisation);

/// The quantisation in a file's name or else in its folder's, in capitals; empty where none can be told.
[[nodiscard]] std::string quantisation_of(std::string_view path);

/// The address of the file that choose_file takes. Blocks. Errors: those of Http::get and choose_file;
/// kCorrupt where the hub's answer is no list.
[[nodiscard]] Result<std::string> find_model(Http& http, const HubModel& model);

}  // namespace brimful::hub
