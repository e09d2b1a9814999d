#pragma once

#include <curl/curl.h>

#include <string>
#include <string_view>

#include "base/result.h"
#include "hub/settings.h"

/// Error messages for failed requests: they name the address, what went wrong, and what to do. Pure
/// functions.
namespace brimful::hub {

/// Makes the error for a transfer that libcurl could not do. `why` is libcurl's own text.
[[nodiscard]] Error transfer_error(std::string_view url, CURLcode code, std::string_view why);

/// Makes the error for an answer with any status but 200 and 206.
[[nodiscard]] Error status_error(std::string_view url, int status, const Settings& settings);

}  // namespace brimful::hub
