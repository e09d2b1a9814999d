#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/http.h"

namespace brimful::hub {

/// Fetches the headers of a GGUF model, and nothing of its weights: 1 MiB, then as much more as the header
/// turns out to need. Of a split model (`-00001-of-0000N.gguf` in its address) the headers of all parts.
/// Writes them into `directory` under the names that the files have on the server, and returns them, the
/// first part first: read_model takes that with Weights::kMayBeMissing. Blocks. Holds: one header. Errors:
/// those of Http::get and parse_gguf, with the address; kInvalidArgument for a later part of a split model;
/// kIo where a file cannot be written. Files that were written stay.
[[nodiscard]] Result<std::vector<std::filesystem::path>> fetch_headers(
    Http& http, const std::string& url, const std::filesystem::path& directory);

}  // namespace brimful::hub
