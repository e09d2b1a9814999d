#pragma once

#include <functional>
#include <map>
#include <string>

#include "model_server.h"

namespace brimful::tests {

/// A server that answers as the Hugging Face Hub does for one repository, `org/model-GGUF`: its commit, its
/// list of files with their sha256, and the files.
class HubServer {
 public:
  static constexpr const char* kRepository = "org/model-GGUF";
  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";
  /// Changes the reply to a request for a file, before it is sent. Called by threads of the server.
  using Change = std::function<void(const ModelServer::Request&, ModelServer::Reply&)>;

  /// The content of each path.
  using Files = std::map<std::string, std::string>;

  explicit HubServer(Files files, Change change = {});

  [[nodiscard]] std::string address() const { return server_.address(); }
  [[nodiscard]] const ModelServer& server() const { return server_; }
  /// The sha256 of a file.
  [[nodiscard]] std::string hash(const std::string& path) const;
  /// The number of requests for files so far.
  [[nodiscard]] std::size_t file_requests() const;

 private:
  [[nodiscard]] ModelServer::Reply answer(const ModelServer::Request& request) const;

  const Files files_;
  const Change change_;
  ModelServer server_;
};

/// Bytes that look random, always the same for the same `seed`.
[[nodiscard]] std::string random_text(std::size_t size, unsigned seed = 1);
/// The sha256 of a text in hexadecimal digits.
[[nodiscard]] std::string sha256_of(const std::string& text);

}  // namespace brimful::tests
