#pragma once

#include <optional>

#include "base/result.h"
#include "serve/http_message.h"

namespace brimful::serve {

/// The rules on who may use the server.
struct AccessRules {
  /// The keys that a client may send. Empty: clients need no key.
  std::vector<std::string> api_keys;
  /// The origins whose web pages may use the server, such as `http://localhost:3000`; `*` allows all.
  std::vector<std::string> cors_origins;
  /// The host name or address at which the server listens.
  std::string host = "127.0.0.1";
};

/// Refuses requests that AccessRules do not allow: from web pages of other origins, from pages that gave
/// this machine a name of their own (DNS rebinding), and from clients without a key. The check_ functions
/// return nullopt when the request is allowed. Threading: any number of threads.
class HttpAccess {
 public:
  explicit HttpAccess(AccessRules rules);

  /// The status and the text of a refusal.
  struct Refusal {
    int status = 403;
    std::string why;
  };
  /// Checks the fields Host and Origin. A server with keys allows all of them, because the keys protect it.
  [[nodiscard]] std::optional<Refusal> check_origin(const HttpRequest& request) const;
  /// Checks the key. A server without keys allows every request.
  [[nodiscard]] std::optional<Refusal> check_key(const HttpRequest& request) const;
  /// Checks that a body is declared as JSON. A web page can send a text to any server without a preflight
  /// request, but not JSON. A server with keys allows every request.
  [[nodiscard]] std::optional<Refusal> check_json(const HttpRequest& request) const;

  /// Returns the answer to a preflight request, with which a browser asks before it sends a request of a web
  /// page. Nullopt when the request is none.
  [[nodiscard]] std::optional<HttpResponse> preflight(const HttpRequest& request) const;
  /// Adds the fields that tell a browser which origins may read the answer.
  void add_fields(const HttpRequest& request, HttpResponse& response) const;

 private:
  [[nodiscard]] bool is_own_host(std::string_view host) const;
  [[nodiscard]] bool may_share_with(std::string_view origin) const;

  const AccessRules rules_;
  const bool any_origin_;
};

/// Checks that a client can send the key: it must not be empty, and consist of visible ASCII characters.
/// Errors: kInvalidArgument; the message begins with `where`.
[[nodiscard]] Status check_api_key(std::string_view key, const std::string& where);

/// Parses an origin in the form that browsers use, such as `https://example.org:8443`, or `*`. A slash at
/// its end is removed.
/// Errors: kInvalidArgument.
[[nodiscard]] Result<std::string> read_origin(std::string_view text);

}  // namespace brimful::serve
