#pragma once

#include "serve/file_store.h"
#include "serve/http_routes.h"
#include "serve/json_body.h"

namespace brimful::serve {

/// `/v1/files` and `/v1/batches`. Contents of files are not read into memory. Threading: any, once it is
/// made.
class FilesApi {
 public:
  /// `store` and `limits` outlive it.
  FilesApi(FileStore& store, BodyLimits& limits, Bytes largest_file)
      : store_(store), limits_(limits), largest_file_(largest_file) {}

  /// It outlives the routes.
  void add_endpoints(HttpRoutes& routes);

 private:
  [[nodiscard]] HttpPlan upload(const HttpRequest& request);
  [[nodiscard]] HttpResponse list(const HttpRequest& request, bool files) const;
  [[nodiscard]] HttpResponse send_content(const std::string& id);
  [[nodiscard]] HttpResponse create_batch(const nlohmann::ordered_json& body);
  [[nodiscard]] HttpResponse cancel_batch(const std::string& id);

  FileStore& store_;
  BodyLimits& limits_;
  const Bytes largest_file_;
};

}  // namespace brimful::serve
