#pragma once

#include <string>

#include "hub/http.h"

namespace brimful::hub {

/// The end of an error message about a repository that is not there, or has no GGUF model: the names of
/// repositories with GGUF models that may be meant. Empty when there is none, and when the hub does not say:
/// it is only advice. Blocks: on the network, for at most two small requests.
[[nodiscard]] std::string near_names(Http& http, const std::string& repository);

}  // namespace brimful::hub
