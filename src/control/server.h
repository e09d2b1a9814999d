#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "base/bytes.h"
#include "control/connection.h"

namespace brimful::control {

/// A request that another process sent to this one. That process waits for the answer.
class Request {
 public:
  Request(Descriptor socket, nlohmann::json content)
      : socket_(std::move(socket)), content_(std::move(content)) {}
  /// The request: a JSON object with a string `ask`.
  [[nodiscard]] const nlohmann::json& content() const { return content_; }
  /// Sends the answer. When the other process is gone, the answer is lost. Blocks: at most 1 s, when the
  /// other process does not read.
  void answer(const nlohmann::ordered_json& answer);

 private:
  Descriptor socket_;
  nlohmann::json content_;
};

/// Listens on this process's socket for requests of `brimful top` and `brimful ctl` (docs/control.md). The
/// server itself answers `{"ask":"status"}` at once, with the status that was published last. Other requests
/// wait until the program takes them.
/// Threading: one thread calls the functions; the server has a thread of its own.
class Server {
 public:
  /// The most memory that a server takes: a thread, and the texts of requests and of the status.
  static constexpr Bytes kMemory{96 * 1024};

  /// Makes the socket of this process and starts to listen. Errors: those of socket_folder(); kIo;
  /// kInvalidArgument when the socket's path is too long.
  [[nodiscard]] static Result<std::unique_ptr<Server>> start();
  /// Removes the socket. Requests that nobody took get an error as their answer.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Replaces the status with which the server answers from now on.
  void publish(const nlohmann::ordered_json& status);
  /// Returns the oldest request that was not taken yet, or nullopt when there is none. Does not block.
  [[nodiscard]] std::optional<Request> take();
  /// A descriptor for poll(). It becomes readable when a request arrives, and stays so until take() has
  /// returned nullopt. Lifetime: that of the server, which closes it.
  [[nodiscard]] int wake_descriptor() const { return wake_.get(); }

 private:
  Server(std::filesystem::path path, Descriptor listener, Descriptor wake, Descriptor stop);
  void serve();
  void answer(Descriptor socket);

  const std::filesystem::path path_;
  const Descriptor listener_;
  const Descriptor wake_;
  const Descriptor stop_;
  std::mutex mutex_;
  std::string status_ = "{}";
  std::deque<Request> requests_;
  std::thread thread_;
};

}  // namespace brimful::control
