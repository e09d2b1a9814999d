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

/// What another process wants of this one. Whoever asked waits for the answer.
class Request {
 public:
  Request(Descriptor socket, nlohmann::json content)
      : socket_(std::move(socket)), content_(std::move(content)) {}
  [[nodiscard]] const nlohmann::json& content() const { return content_; }
  /// Whoever asked may have gone: then it is lost.
  void answer(const nlohmann::ordered_json& answer);

 private:
  Descriptor socket_;
  nlohmann::json content_;
};

/// Listens on this process's socket: `{"ask":"status"}` is answered with what was published last, at once;
/// other requests wait until they are taken. docs/control.md.
/// Threading: one thread uses it; it has one of its own.
class Server {
 public:
  /// What it takes at most: a thread, and texts of requests and status.
  static constexpr Bytes kMemory{96 * 1024};

  /// Errors: those of socket_folder(); kIo.
  [[nodiscard]] static Result<std::unique_ptr<Server>> start();
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void publish(const nlohmann::ordered_json& status);
  /// The oldest request that was not taken yet. Does not wait.
  [[nodiscard]] std::optional<Request> take();
  /// Becomes readable when a request comes; take() until nothing is left makes it wait again.
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
