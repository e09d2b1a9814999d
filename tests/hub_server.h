#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "model_server.h"

namespace brimful::tests {

/// A server that answers as the Hugging Face Hub does for one repository, `org/model-GGUF`: its commit, its
/// list of files with their sha256, the files, and searches for repositories.
class HubServer {
 public:
  static constexpr const char* kRepository = "org/model-GGUF";
  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";
  /// Changes the reply to a request for a file, before it is sent. Called by threads of the server.
  using Change = std::function<void(const ModelServer::Request&, ModelServer::Reply&)>;

  /// The content of each path.
  using Files = std::map<std::string, std::string>;
  /// The sizes of files whose content is only their beginning. Zeros follow it.
  using Sizes = std::map<std::string, std::uint64_t>;

  explicit HubServer(Files files, Change change = {}, Sizes sizes = {});

  /// Lets `main` be another commit from now on, with these files. Commits from before can still be fetched.
  void push(const std::string& commit, Files files);
  /// The repositories that a search finds, whatever is searched for.
  void find(std::vector<std::string> repositories);

  [[nodiscard]] std::string address() const { return server_.address(); }
  [[nodiscard]] const ModelServer& server() const { return server_; }
  /// The sha256 of a file of `main`.
  [[nodiscard]] std::string hash(const std::string& path) const;
  /// The number of requests for files so far.
  [[nodiscard]] std::size_t file_requests() const;

 private:
  [[nodiscard]] ModelServer::Reply answer(const ModelServer::Request& asked) const;
  [[nodiscard]] ModelServer::Reply list(const Files& files) const;

  mutable std::mutex mutex_;
  std::map<std::string, Files> commits_;
  std::string main_ = kCommit;
  std::vector<std::string> found_;
  const Change change_;
  const Sizes sizes_;
  ModelServer server_;
};

/// Bytes that look random, always the same for the same `seed`.
[[nodiscard]] std::string random_text(std::size_t size, unsigned seed = 1);
/// The sha256 of a text in hexadecimal digits.
[[nodiscard]] std::string sha256_of(const std::string& text);

}  // namespace brimful::tests
