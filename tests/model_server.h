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

/// An HTTP server in the test's own process. It records the requests.
class ModelServer {
 public:
  /// A request that was received.
  struct Request {
    std::string host;  ///< The field Host, with the port.
    std::string path;  ///< The path with the query.
    std::string range;
    std::string authorization;
    std::string proxy_authorization;
  };
  /// How the server answers a request.
  struct Reply {
    /// The status. Unset: 200, or 206 for a request of a range. With 200 the whole file is sent, even for a
    /// range.
    std::optional<int> status;
    std::string body;
    /// The size of the file, which consists of `body` and zeros after it.
    std::uint64_t size = 0;
    std::string type = "application/octet-stream";
    std::map<std::string, std::string> headers;
    /// Whether the answer says how large the file is.
    bool tells_size = true;
    /// The number of bytes after which the connection is cut. Unset: never.
    std::optional<std::uint64_t> breaks_after;
    /// The number of bytes after which nothing more is sent, although the connection stays. Unset: never.
    std::optional<std::uint64_t> stalls_after;
    /// The wait before the body. It ends early when the server ends.
    std::chrono::milliseconds delay{0};
  };
  /// Decides about the reply. Called by one of the server's threads.
  using Handler = std::function<Reply(const Request&)>;

  explicit ModelServer(Handler handler);
  ~ModelServer();
  ModelServer(const ModelServer&) = delete;
  ModelServer& operator=(const ModelServer&) = delete;

  /// The address `http://HOST:PORT`. 127.0.0.1 and localhost lead to the same server, and are two hosts for
  /// a client.
  [[nodiscard]] std::string address(const std::string& host = "127.0.0.1") const;
  [[nodiscard]] std::vector<Request> requests() const;
  /// The number of bytes of bodies that were sent.
  [[nodiscard]] std::uint64_t bytes_sent() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace brimful::tests
