#pragma once

#include <curl/curl.h>

#include <string>
#include <string_view>

#include "base/result.h"
#include "hub/settings.h"

/// What went wrong on the way to a file, and what to do about it. Pure.
namespace brimful::hub {

/// `why` is libcurl's own text.
[[nodiscard]] Error transfer_error(std::string_view url, CURLcode code, std::string_view why);

/// For any status but 200 and 206.
[[nodiscard]] Error status_error(std::string_view url, int status, const Settings& settings);

}  // namespace brimful::hub
