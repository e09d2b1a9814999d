#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "hub/http.h"

namespace brimful::hub {

/// GETs JSON of at most `most` bytes. `next` gets the address of the next page of a list; empty on the last
/// one. Errors: those of Http::get; kCorrupt when the answer is longer or no JSON. Blocks: on the network.
[[nodiscard]] Result<nlohmann::json> get_json(Http& http, const std::string& url, Bytes most,
                                              std::string& next);

/// Returns the text called `name` of a JSON object; empty when there is none.
[[nodiscard]] std::string text_of(const nlohmann::json& object, const char* name);

}  // namespace brimful::hub
