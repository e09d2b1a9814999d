#pragma once

#include "serve/archive.h"
#include "serve/http_routes.h"
#include "serve/json_body.h"

namespace brimful::serve {

/// `/v1/files` and `/v1/batches`. Contents of files are not read into memory. Threading: any, once it is
/// made.
class ArchiveApi {
 public:
  /// `archive` and `limits` outlive it.
  ArchiveApi(Archive& archive, BodyLimits& limits, Bytes largest_file)
      : archive_(archive), limits_(limits), largest_file_(largest_file) {}

  /// It outlives the routes.
  void add_endpoints(HttpRoutes& routes);

 private:
  [[nodiscard]] HttpPlan upload(const HttpRequest& request);
  [[nodiscard]] HttpResponse list(const HttpRequest& request, bool files) const;
  [[nodiscard]] HttpResponse send_content(const std::string& id);
  [[nodiscard]] HttpResponse create_batch(const nlohmann::ordered_json& body);
  [[nodiscard]] HttpResponse cancel_batch(const std::string& id);

  Archive& archive_;
  BodyLimits& limits_;
  const Bytes largest_file_;
};

}  // namespace brimful::serve
