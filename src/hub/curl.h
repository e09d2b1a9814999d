#pragma once

#include <curl/curl.h>

#include "base/result.h"

namespace brimful::hub {

/// The functions of libcurl that the hub calls. libcurl is loaded when a model is first asked for by its
/// address, and not together with the program: it brings thirty libraries, and `run` counts each of their
/// bytes to its budget.
struct Curl {
  decltype(&::curl_global_init) global_init = nullptr;
  decltype(&::curl_easy_init) easy_init = nullptr;
  decltype(&::curl_easy_setopt) easy_setopt = nullptr;
  decltype(&::curl_easy_perform) easy_perform = nullptr;
  decltype(&::curl_easy_cleanup) easy_cleanup = nullptr;
  decltype(&::curl_easy_strerror) easy_strerror = nullptr;
};

/// Loads libcurl with the first call, and returns its functions. Thread-safe. Lifetime: the result stays
/// valid until the process ends.
/// Errors: kUnsupported when libcurl cannot be loaded.
[[nodiscard]] Result<const Curl*> load_curl();

}  // namespace brimful::hub
