#pragma once

#include <functional>

#include "serve/archive.h"
#include "serve/counted.h"

namespace httplib {
class Server;
class ContentReader;
struct Request;
struct Response;
}  // namespace httplib

namespace strata::serve {

/// The JSON of a request, and the memory that it is counted with while it is there.
struct ReadBody {
  nlohmann::json json;
  std::shared_ptr<Counted> counted;
};

/// `/v1/files` and `/v1/batches`. Threading: any, once it is made.
class ArchiveApi {
 public:
  using Reader = std::function<Result<ReadBody>(const httplib::ContentReader&)>;
  using Hold = std::function<std::shared_ptr<Counted>()>;  ///< held while a content is sent

  /// `archive` outlives it. Contents of files are not read into memory.
  ArchiveApi(Archive& archive, Reader read_body, Hold hold)
      : archive_(archive), read_body_(std::move(read_body)), hold_(std::move(hold)) {}

  /// It outlives the server.
  void add_endpoints(httplib::Server& http);

 private:
  void upload(const httplib::Request& request, httplib::Response& response,
              const httplib::ContentReader& content);
  void list(const httplib::Request& request, httplib::Response& response, bool files);
  void send_content(const std::string& id, httplib::Response& response);
  void create_batch(httplib::Response& response, const nlohmann::json& body);
  void cancel_batch(const std::string& id, httplib::Response& response);

  Archive& archive_;
  const Reader read_body_;
  const Hold hold_;
};

}  // namespace strata::serve
