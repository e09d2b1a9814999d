#pragma once

#include "serve/file_store.h"
#include "serve/http_routes.h"
#include "serve/json_body.h"

namespace brimful::serve {

/// The endpoints `/v1/files` and `/v1/batches` of OpenAI's API. Contents of files are not held in memory.
/// Threading: any number of threads, once the object is made.
class FilesApi {
 public:
  /// `largest_file` is the largest file that a client may send. Lifetime: `store` and `limits` outlive this
  /// object.
  FilesApi(FileStore& store, BodyLimits& limits, Bytes largest_file)
      : store_(store), limits_(limits), largest_file_(largest_file) {}

  /// Adds the endpoints to `routes`. Lifetime: this object outlives the routes.
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
