#pragma once

#include "serve/http_server.h"

namespace brimful::serve {

/// The table of which task answers which method and path. Threading: any number of threads may call find()
/// at the same time, when nobody calls add().
class HttpRoutes {
 public:
  /// Makes the plan for a request. `place` is the part of the path that matches the placeholder of the
  /// pattern; empty for a pattern without one.
  using Make = std::function<HttpPlan(const HttpRequest& request, const std::string& place)>;

  /// Adds a route. `pattern` is a path with at most one placeholder: `{}` stands for one segment, and
  /// `{...}` at the end for one or more segments.
  void add(std::string method, std::string pattern, Make make);
  /// Adds a route for requests whose body is not read. `answer` runs in `lane`.
  void add(std::string method, std::string pattern, Lane lane,
           std::function<HttpResponse(const HttpRequest& request, const std::string& place)> answer);

  /// The result of find().
  struct Found {
    /// Null when no route has this path, or none has it with this method.
    const Make* make = nullptr;
    std::string place;
    /// The methods of the path, in the form of the field Allow. Empty when no route has this path.
    std::string allowed;
  };
  /// Finds the route for a request. A route for GET also answers HEAD, and a slash at the end of the path is
  /// ignored.
  [[nodiscard]] Found find(const HttpRequest& request) const;

 private:
  struct Route {
    std::string method;
    std::string pattern;
    Make make;
  };
  std::vector<Route> routes_;
};

}  // namespace brimful::serve
