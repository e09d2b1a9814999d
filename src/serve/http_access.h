#pragma once

#include <optional>

#include "base/result.h"
#include "serve/http_message.h"

namespace brimful::serve {

/// Who may use the server.
struct AccessRules {
  std::vector<std::string> api_keys;      ///< empty: nobody needs one
  std::vector<std::string> cors_origins;  ///< whose pages may, such as `http://localhost:3000`; `*`: all
  std::string host = "127.0.0.1";         ///< where the server listens
};

/// Keeps others out: web pages of other origins, pages that gave this machine a name of their own (DNS
/// rebinding), and clients that have no key. Threading: any.
class HttpAccess {
 public:
  explicit HttpAccess(AccessRules rules);

  struct Refusal {
    int status = 403;
    std::string why;
  };
  /// Whether the client may ask at all. A server with keys leaves it to them.
  [[nodiscard]] std::optional<Refusal> check_origin(const HttpRequest& request) const;
  [[nodiscard]] std::optional<Refusal> check_key(const HttpRequest& request) const;
  /// A browser sends what it likes as text, without asking before, but not as JSON.
  [[nodiscard]] std::optional<Refusal> check_json(const HttpRequest& request) const;

  /// The answer to a browser that asks before it sends a request of a page; unset: the request is no such
  /// question.
  [[nodiscard]] std::optional<HttpResponse> preflight(const HttpRequest& request) const;
  /// Tells the browser whose pages may read the answer.
  void add_fields(const HttpRequest& request, HttpResponse& response) const;

 private:
  [[nodiscard]] bool is_own_host(std::string_view host) const;
  [[nodiscard]] bool may_share_with(std::string_view origin) const;

  const AccessRules rules_;
  const bool any_origin_;
};

/// A key as a client can send it. Errors: kInvalidArgument, beginning with `where`.
[[nodiscard]] Status check_api_key(std::string_view key, const std::string& where);

/// An origin as browsers write it, such as `https://example.org:8443`, or `*`; a slash at its end is taken
/// away. Errors: kInvalidArgument.
[[nodiscard]] Result<std::string> read_origin(std::string_view text);

}  // namespace brimful::serve
