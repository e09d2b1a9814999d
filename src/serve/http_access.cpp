#include "serve/http_access.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace brimful::serve {
namespace {

/// Compares two keys in a time that does not depend on where they differ.
bool same(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  int differ = 0;
  for (std::size_t i = 0; i < a.size(); ++i) differ |= a[i] ^ b[i];
  return differ == 0;
}

/// Returns whether the text is a port after a host: empty, or a colon and digits.
bool is_port(std::string_view text) {
  return text.empty() ||
         (text.starts_with(':') && text.find_first_not_of("0123456789", 1) == std::string_view::npos);
}

/// Returns the host without its port and without the brackets of an IPv6 address, in lower case. Empty when
/// the text is no host.
std::string name_of(std::string_view host) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    if (end == std::string_view::npos) return {};
    if (!is_port(host.substr(end + 1))) return {};
    return lower_case(host.substr(1, end - 1));
  }
  std::string_view name = host.substr(0, host.find(':'));
  if (!is_port(host.substr(name.size()))) return {};
  if (name.ends_with('.')) name.remove_suffix(1);
  return lower_case(name);
}

bool is_address(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return ::inet_pton(AF_INET, name.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1;
}

bool is_loopback(const std::string& name) {
  return name == "localhost" || name == "::1" || (name.starts_with("127.") && is_address(name));
}

std::string name_of_machine() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  return lower_case(name.data());
}

std::string key_of(const HttpRequest& request) {
  constexpr std::string_view kBearer = "bearer ";
  std::string_view header = request.field("authorization");
  if (header.empty() || lower_case(header.substr(0, kBearer.size())) != kBearer)
    return std::string(request.field("x-api-key"));
  header.remove_prefix(kBearer.size());
  header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
  return std::string(header);
}

}  // namespace

HttpAccess::HttpAccess(AccessRules rules)
    : rules_(std::move(rules)),
      any_origin_(std::ranges::find(rules_.cors_origins, "*") != rules_.cors_origins.end()) {}

/// Returns whether the field Host names this server. When a web page has given this machine a name of its
/// own (DNS rebinding), the field has that name and no address.
bool HttpAccess::is_own_host(std::string_view host) const {
  const std::string name = name_of(host);
  const std::string own = name_of(std::ranges::count(rules_.host, ':') > 1 && !rules_.host.starts_with('[')
                                      ? "[" + rules_.host + "]"
                                      : rules_.host);
  if (name.empty()) return false;
  if (is_loopback(name) || name == own) return true;
  if (is_loopback(own)) return false;
  if (is_address(name)) return true;
  const std::string machine = name_of_machine();
  return !machine.empty() && (name == machine || name == machine + ".local");
}

bool HttpAccess::may_share_with(std::string_view origin) const {
  return any_origin_ || std::ranges::find(rules_.cors_origins, origin) != rules_.cors_origins.end();
}

std::optional<HttpAccess::Refusal> HttpAccess::check_origin(const HttpRequest& request) const {
  if (!rules_.api_keys.empty()) return std::nullopt;
  if (!request.host.empty() && !is_own_host(request.host)) {
    return Refusal{403, fmt::format("'{}' is not a name of this server: use its address, or start it with "
                                    "--host and that name, or with --api-key",
                                    request.host)};
  }
  for (const auto& [name, origin] : request.fields) {  // Honest clients send this field only once.
    if (name != "origin" || origin.empty() || may_share_with(origin)) continue;
    if (origin == "http://" + request.host || origin == "https://" + request.host) continue;
    return Refusal{
        403,
        fmt::format("web pages of {} may not use this server: start it with --cors-origin {} to allow them",
                    origin, origin)};
  }
  return std::nullopt;
}

std::optional<HttpAccess::Refusal> HttpAccess::check_key(const HttpRequest& request) const {
  if (rules_.api_keys.empty()) return std::nullopt;
  const std::string given = key_of(request);
  bool known = false;
  for (const std::string& key : rules_.api_keys) known = same(key, given) || known;
  if (known) return std::nullopt;
  return Refusal{401, "the API key is missing or wrong: send it as Authorization: Bearer KEY"};
}

std::optional<HttpAccess::Refusal> HttpAccess::check_json(const HttpRequest& request) const {
  if (!rules_.api_keys.empty() || request.content_type() == "application/json") return std::nullopt;
  return Refusal{415,
                 "the body must be JSON with the header Content-Type: application/json (curl: -H "
                 "'Content-Type: application/json')"};
}

std::optional<HttpResponse> HttpAccess::preflight(const HttpRequest& request) const {
  const std::string_view origin = request.field("origin");
  if (request.method != "OPTIONS" || origin.empty() || request.field("access-control-request-method").empty())
    return std::nullopt;
  HttpResponse out{.status = may_share_with(origin) ? 204 : 403};
  if (out.status != 204) return out;
  out.set("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE");
  if (const std::string_view fields = request.field("access-control-request-headers"); !fields.empty())
    out.set("Access-Control-Allow-Headers", std::string(fields));
  if (request.field("access-control-request-private-network") == "true")
    out.set("Access-Control-Allow-Private-Network", "true");
  out.set("Access-Control-Max-Age", "600");
  return out;
}

void HttpAccess::add_fields(const HttpRequest& request, HttpResponse& response) const {
  if (rules_.cors_origins.empty()) return;
  response.set("Vary", "Origin");
  const std::string_view origin = request.field("origin");
  if (origin.empty() || !may_share_with(origin)) return;
  response.set("Access-Control-Allow-Origin", any_origin_ ? "*" : std::string(origin));
  response.set("Access-Control-Expose-Headers", "Retry-After");
}

Status check_api_key(std::string_view key, const std::string& where) {
  if (key.empty())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: the key is empty, so it protects nothing", where));
  if (std::ranges::any_of(key, [](unsigned char c) { return c <= ' ' || c > '~'; }))
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: a key can have only visible ASCII characters, because clients send it in a header",
                    where));
  return {};
}

Result<std::string> read_origin(std::string_view text) {
  if (text.ends_with('/')) text.remove_suffix(1);
  const std::size_t scheme = text.find("://");
  const bool is_origin = scheme != std::string_view::npos && scheme > 0 && scheme + 3 < text.size() &&
                         !text.substr(scheme + 3).contains('/') &&
                         std::ranges::none_of(text, [](unsigned char c) { return c <= ' ' || c > '~'; });
  if (text != "*" && text != "null" && !is_origin)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--cors-origin {}: must be an origin such as http://localhost:3000, or *", text));
  return text == "*" ? std::string(text) : lower_case(text);
}

}  // namespace brimful::serve
