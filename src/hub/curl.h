#pragma once

#include <curl/curl.h>

#include "base/result.h"

namespace brimful::hub {

/// The functions of libcurl that are called here. It is loaded when a model is first asked for by address,
/// and not with the program: it brings thirty libraries, and `run` counts each of their bytes to its budget.
struct Curl {
  decltype(&::curl_global_init) global_init = nullptr;
  decltype(&::curl_easy_init) easy_init = nullptr;
  decltype(&::curl_easy_setopt) easy_setopt = nullptr;
  decltype(&::curl_easy_perform) easy_perform = nullptr;
  decltype(&::curl_easy_cleanup) easy_cleanup = nullptr;
  decltype(&::curl_easy_strerror) easy_strerror = nullptr;
};

/// Thread-safe. Lifetime: that of the process. Errors: kUnsupported where there is no libcurl to load.
[[nodiscard]] Result<const Curl*> load_curl();

}  // namespace brimful::hub
