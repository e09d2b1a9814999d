#pragma once

#include <functional>

#include "serve/archive.h"

namespace httplib {
class Server;
class ContentReader;
struct Request;
struct Response;
}  // namespace httplib

namespace strata::serve {

/// `/v1/files` and `/v1/batches`. Threading: any, once it is made.
class ArchiveApi {
 public:
  using ReadBody = std::function<Result<nlohmann::json>(const httplib::ContentReader&)>;

  /// `archive` outlives it. Contents of files are not read into memory.
  ArchiveApi(Archive& archive, ReadBody read_body) : archive_(archive), read_body_(std::move(read_body)) {}

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
  const ReadBody read_body_;
};

}  // namespace strata::serve
