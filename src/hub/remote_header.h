#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/http.h"

namespace brimful::hub {

/// Fetches the headers of a GGUF model without its weights: first 1 MiB, then as much more as the header
/// needs. For a split model (`-00001-of-0000N.gguf` in its address) it fetches the headers of all parts. The
/// headers are written into `directory` under the names that the files have on the server. Returns their
/// paths, the first part first; read_model takes that first path with Weights::kMayBeMissing.
/// Errors: those of Http::get and parse_gguf, with the address; kInvalidArgument for a later part of a split
/// model; kIo when a file cannot be written. Files that were already written stay.
/// Blocks: on the network. Holds: one header.
[[nodiscard]] Result<std::vector<std::filesystem::path>> fetch_headers(
    Http& http, const std::string& url, const std::filesystem::path& directory);

}  // namespace brimful::hub
