#include "hub/http_errors.h"

#include <fmt/format.h>

#include "hub/http_headers.h"
#include "model/gguf_reader.h"

namespace brimful::hub {
namespace {

/// Returns the address of the web page of the model to which an address of the hub belongs.
std::string page_of(std::string_view url, const Settings& settings) {
  constexpr std::string_view kApi = "api/models/";
  std::string_view path = url.substr(settings.endpoint.size() + 1);
  if (path.starts_with(kApi)) path.remove_prefix(kApi.size());
  const std::size_t repository = path.find('/');
  return shown(fmt::format("{}/{}", settings.endpoint, path.substr(0, path.find('/', repository + 1))));
}

constexpr std::string_view kProxyLogin =
    "the proxy asks for a login (407): write it into https_proxy (for http:// addresses http_proxy) as "
    "http://USER:PASSWORD@HOST:PORT";

std::string no_access(std::string_view url, int status, const Settings& settings) {
  if (!settings.is_hub(url)) {
    return fmt::format(
        "the server refuses access ({}): download the file's first 20 MB with your login, and give that file",
        status);
  }
  const std::string page = page_of(url, settings);
  if (settings.token.empty()) {
    return fmt::format(
        "the hub asks for a login ({}): check the name. For a gated or private model accept its licence on "
        "{}, and set HF_TOKEN",
        status, page);
  }
  return fmt::format(
      "the hub refuses access ({}): check the name, and whether HF_TOKEN is still valid. For a gated model "
      "accept its licence on {}",
      status, page);
}

/// libcurl's reason, in quotes. It is left out where it may hold the login of a proxy.
std::string shown_reason(std::string_view why) {
  if (why.contains('@')) return "what libcurl says may hold a login, and is not shown";
  return model::in_quotes(trim(why));
}

}  // namespace

Error transfer_error(std::string_view url, CURLcode code, std::string_view why) {
  const auto error = [&](ErrorCode kind, std::string_view what) {
    return Error{kind, fmt::format("{}: {}", shown(url), what)};
  };
  const std::string scheme = lower(url.substr(0, url.find(':')));
  const std::string reason = shown_reason(why);
  switch (code) {
    case CURLE_URL_MALFORMAT:
      return error(ErrorCode::kInvalidArgument,
                   "is not an address: give one like https://host/path/model.gguf");
    case CURLE_UNSUPPORTED_PROTOCOL:
      if (!scheme.starts_with("http")) {
        return error(ErrorCode::kInvalidArgument, "cannot be fetched: give an http:// or https:// address");
      }
      return error(ErrorCode::kIo, fmt::format("the server redirects away from {}:// ({}): check the address",
                                               scheme, reason));
    case CURLE_COULDNT_RESOLVE_HOST:
      return error(ErrorCode::kIo, "the host name cannot be resolved: check the name, and the network");
    case CURLE_COULDNT_RESOLVE_PROXY:
      return error(ErrorCode::kIo,
                   "the proxy's host name cannot be resolved: check https_proxy and http_proxy");
    case CURLE_COULDNT_CONNECT:
      return error(ErrorCode::kIo,
                   fmt::format("cannot connect ({}): check the network, and https_proxy", reason));
    case CURLE_RECV_ERROR:
      // The answer of a proxy to CONNECT: libcurl has no code of its own for it.
      if (why.contains("407")) return error(ErrorCode::kIo, kProxyLogin);
      return error(ErrorCode::kIo, fmt::format("the transfer broke off ({}): try again", reason));
    case CURLE_OPERATION_TIMEDOUT:
      return error(ErrorCode::kIo,
                   fmt::format("the server takes too long ({}): check the network, or try later", reason));
    case CURLE_TOO_MANY_REDIRECTS:
      return error(ErrorCode::kIo, "the server redirects in a circle: check the address");
    case CURLE_SSL_CONNECT_ERROR:
      return error(ErrorCode::kIo,
                   fmt::format("no secure connection ({}): does the server speak https?", reason));
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return error(ErrorCode::kIo,
                   fmt::format("no secure connection ({}): where a proxy signs for other servers, name its "
                               "certificate in SSL_CERT_FILE",
                               reason));
    default: return error(ErrorCode::kIo, fmt::format("the transfer broke off ({}): try again", reason));
  }
}

Error status_error(std::string_view url, int status, const Settings& settings) {
  const auto error = [&](ErrorCode kind, std::string_view what) {
    return Error{kind, fmt::format("{}: {}", shown(url), what)};
  };
  if (status == 401 || status == 403) return error(ErrorCode::kIo, no_access(url, status, settings));
  if (status == 404 || status == 410) {
    return error(ErrorCode::kNotFound,
                 fmt::format("the server has no file of this name ({}): check the name", status));
  }
  if (status == 407) return error(ErrorCode::kIo, kProxyLogin);
  if (status == 416) return error(ErrorCode::kCorrupt, "the file is empty: check the address");
  if (status == 429) {
    const bool nameless = settings.is_hub(url) && settings.token.empty();
    return error(ErrorCode::kIo, fmt::format("too many requests (429): wait some minutes{}",
                                             nameless ? ", or set HF_TOKEN" : ""));
  }
  if (status >= 500) {
    return error(ErrorCode::kIo,
                 fmt::format("the server reports an error of its own ({}): try again later", status));
  }
  return error(ErrorCode::kIo, fmt::format("the server answers with status {}: check the address", status));
}

}  // namespace brimful::hub
