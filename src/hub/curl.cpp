#include "hub/curl.h"

#include <dlfcn.h>

namespace brimful::hub {
namespace {

void* open_library() {
  for (const char* name : {"libcurl.so.4", "libcurl-gnutls.so.4"}) {
    if (void* const library = ::dlopen(name, RTLD_LAZY | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

template <typename Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

Result<Curl> load() {
  Curl curl;
  // The library is never closed, because it keeps threads and tables of its own.
  void* const library = open_library();
  const bool complete = library != nullptr && find(library, "curl_global_init", curl.global_init) &&
                        find(library, "curl_easy_init", curl.easy_init) &&
                        find(library, "curl_easy_setopt", curl.easy_setopt) &&
                        find(library, "curl_easy_perform", curl.easy_perform) &&
                        find(library, "curl_easy_cleanup", curl.easy_cleanup) &&
                        find(library, "curl_easy_strerror", curl.easy_strerror);
  if (complete && curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) return curl;
  return fail(ErrorCode::kUnsupported,
              "models are fetched with libcurl, which cannot be loaded: install it (Debian: libcurl4), or "
              "download the model's first 20 MB yourself and give the file");
}

}  // namespace

Result<const Curl*> load_curl() {
  static const Result<Curl> curl = load();
  if (!curl) return std::unexpected(curl.error());
  return &*curl;
}

}  // namespace brimful::hub
