#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace brimful::tests {

/// An HTTP server on this machine, in the test's own process, which records what it is asked for.
class ModelServer {
 public:
  struct Request {
    std::string host;  ///< with the port, as the client named it
    std::string path;  ///< with the query
    std::string range;
    std::string authorization;
  };
  struct Reply {
    std::optional<int> status;  ///< 200 even for a range: all is sent; nothing: 200 or 206, as asked
    std::string body;
    std::uint64_t size = 0;  ///< of the file: `body`, and zeros after it
    std::string type = "application/octet-stream";
    std::map<std::string, std::string> headers;
    bool tells_size = true;
    std::optional<std::uint64_t> breaks_after;  ///< the connection is cut after so many bytes
    std::chrono::milliseconds delay{0};         ///< before the body; it ends early with the server
  };
  /// Called by one of the server's threads.
  using Handler = std::function<Reply(const Request&)>;

  explicit ModelServer(Handler handler);
  ~ModelServer();
  ModelServer(const ModelServer&) = delete;
  ModelServer& operator=(const ModelServer&) = delete;

  /// `http://HOST:PORT`. 127.0.0.1 and localhost are the same server, and two hosts to a client.
  [[nodiscard]] std::string address(const std::string& host = "127.0.0.1") const;
  [[nodiscard]] std::vector<Request> requests() const;
  [[nodiscard]] std::uint64_t bytes_sent() const;  ///< of bodies

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace brimful::tests
