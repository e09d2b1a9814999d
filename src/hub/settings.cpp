#include "hub/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "hub/http_headers.h"
#include "model/gguf_reader.h"

namespace brimful::hub {
namespace {

std::string without_end(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return without_end(value == nullptr ? "" : value);
}

/// Returns the token that `hf auth login` stored; empty when there is none.
std::string stored_token() {
  std::filesystem::path file = variable("HF_TOKEN_PATH");
  if (file.empty()) {
    std::filesystem::path home = variable("HF_HOME");
    if (home.empty()) {
      std::filesystem::path cache = variable("XDG_CACHE_HOME");
      if (cache.empty()) cache = std::filesystem::path(variable("HOME")) / ".cache";
      home = cache / "huggingface";
    }
    file = home / "token";
  }
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return without_end(std::move(line));
}

bool is_yes(std::string value) {
  value = lower(value);
  return value == "1" || value == "on" || value == "yes" || value == "true";
}

}  // namespace

bool Settings::is_hub(std::string_view url) const {
  return url.starts_with(endpoint) && url.substr(endpoint.size()).starts_with('/');
}

Result<Settings> settings_from_environment() {
  Settings settings;
  if (std::string endpoint = variable("HF_ENDPOINT"); !endpoint.empty()) {
    while (endpoint.ends_with('/')) endpoint.pop_back();
    if (!endpoint.starts_with("https://") && !endpoint.starts_with("http://")) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("HF_ENDPOINT is {}: it must be an address like https://huggingface.co",
                              model::in_quotes(endpoint)));
    }
    settings.endpoint = std::move(endpoint);
  }
  settings.token = variable("HF_TOKEN");
  if (settings.token.empty()) settings.token = stored_token();
  settings.offline = is_yes(variable("HF_HUB_OFFLINE"));
  if (!std::ranges::all_of(settings.token, [](char c) { return c > ' ' && c < 0x7F; })) {
    return fail(ErrorCode::kInvalidArgument,
                "HF_TOKEN holds spaces or other characters that no token has: copy it again");
  }
  settings.certificates = variable("CURL_CA_BUNDLE");
  if (settings.certificates.empty()) settings.certificates = variable("SSL_CERT_FILE");
  // libcurl ignores this name, because a client of a CGI program can set it there. This is no such program
  // where REQUEST_METHOD is not set.
  if (variable("http_proxy").empty() && variable("REQUEST_METHOD").empty())
    settings.http_proxy = variable("HTTP_PROXY");
  return settings;
}

}  // namespace brimful::hub
