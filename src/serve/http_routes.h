#pragma once

#include "serve/http_server.h"

namespace brimful::serve {

/// Which task answers which method and path. Threading: any number of threads may call find() at once.
class HttpRoutes {
 public:
  /// `place`: the part of the path that the pattern leaves open.
  using Make = std::function<HttpPlan(const HttpRequest& request, const std::string& place)>;

  /// `pattern`: a path, in which `{}` stands for one segment and a last `{...}` for one or more of them.
  void add(std::string method, std::string pattern, Make make);
  /// For what reads no body: `answer` runs in `lane`.
  void add(std::string method, std::string pattern, Lane lane,
           std::function<HttpResponse(const HttpRequest& request, const std::string& place)> answer);

  struct Found {
    const Make* make = nullptr;  ///< null: the path has no such method, or is no path of ours
    std::string place;
    std::string
        allowed;  ///< the methods of the path, as the field Allow has them; empty: it is no path of ours
  };
  /// GET answers HEAD, too, and a slash at the end of a path changes nothing.
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
