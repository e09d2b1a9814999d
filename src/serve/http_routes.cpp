#include "serve/http_routes.h"

namespace brimful::serve {
namespace {

constexpr std::uint64_t kIgnoredBody = 64 * 1024;  // The most bytes of a body that nobody reads.

class Answer final : public HttpTask {
 public:
  explicit Answer(std::function<HttpResponse()> answer) : answer_(std::move(answer)) {}
  HttpResponse answer() override { return answer_(); }

 private:
  const std::function<HttpResponse()> answer_;
};

/// Returns the part of `path` that matches the placeholder of `pattern`; empty for a pattern without one.
/// Nullopt when the path does not match.
std::optional<std::string> match(std::string_view pattern, std::string_view path) {
  const std::size_t open = pattern.find('{');
  if (open == std::string_view::npos) return pattern == path ? std::optional<std::string>("") : std::nullopt;
  const std::size_t close = pattern.find('}');
  const std::string_view end = pattern.substr(close + 1);
  if (!path.starts_with(pattern.substr(0, open)) || path.size() <= open + end.size() || !path.ends_with(end))
    return std::nullopt;
  const std::string_view place = path.substr(open, path.size() - open - end.size());
  const bool is_one_segment = pattern.substr(open, close - open) == "{";
  if (is_one_segment && place.contains('/')) return std::nullopt;
  return std::string(place);
}

}  // namespace

void HttpRoutes::add(std::string method, std::string pattern, Make make) {
  routes_.push_back({std::move(method), std::move(pattern), std::move(make)});
}

void HttpRoutes::add(
    std::string method, std::string pattern, Lane lane,
    std::function<HttpResponse(const HttpRequest& request, const std::string& place)> answer) {
  add(std::move(method), std::move(pattern),
      [lane, answer = std::move(answer)](const HttpRequest& request, const std::string& place) {
        HttpPlan out;
        out.task = std::make_unique<Answer>([&answer, &request, place] { return answer(request, place); });
        out.lane = lane;
        out.largest_body = kIgnoredBody;
        return out;
      });
}

HttpRoutes::Found HttpRoutes::find(const HttpRequest& request) const {
  std::string_view path = request.path;
  if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  Found out;
  for (const Route& route : routes_) {
    const auto place = match(route.pattern, path);
    if (!place) continue;
    out.allowed += (route.method == "GET" ? "GET, HEAD" : route.method) + ", ";
    if (route.method != method) continue;
    out.make = &route.make;
    out.place = *place;
  }
  if (!out.allowed.empty()) out.allowed += "OPTIONS";
  return out;
}

}  // namespace brimful::serve
