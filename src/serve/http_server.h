#pragma once

#include <memory>
#include <variant>

#include "serve/http_message.h"
#include "serve/listener.h"

namespace brimful::serve {

struct HttpLimits {
  using Milliseconds = std::chrono::milliseconds;

  std::size_t most_connections = 1024;
  Milliseconds for_head{30'000};      ///< from the connection, or from the first byte of the next request
  Milliseconds between{75'000};       ///< requests of one connection
  Milliseconds for_silence{30'000};   ///< while the body comes
  std::uint64_t slowest_body = 1024;  ///< bytes/s on average, once for_silence is over
  Milliseconds for_writing{30'000};   ///< for the client to take 64 KiB
  Milliseconds to_linger{2'000};      ///< for a client that still sends to read why nobody listens
};

/// Which threads do a task. The lanes do not wait for one another.
enum class Lane {
  kNow,      ///< the I/O thread: only for what neither waits nor computes
  kReading,  ///< what reads requests: JSON, chat templates, grammars
  kFiles,    ///< what waits for the disk
  kControl,  ///< what waits for the model, for minutes
};

struct HttpPlan {
  std::unique_ptr<HttpTask> task;
  Lane lane = Lane::kReading;      ///< of HttpTask::answer()
  bool takes_in_lane = false;      ///< HttpTask::take() runs there, too, and not on the I/O thread
  std::uint64_t largest_body = 0;  ///< bytes
  bool is_json = false;            ///< the body has to be JSON
};

/// What an HttpServer serves. Threading: the server calls it from its I/O thread, so nothing here may wait.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// Decides by the head alone: an answer at once, and the body stays unread; or what will answer.
  [[nodiscard]] virtual std::variant<HttpResponse, HttpPlan> begin(const HttpRequest& request) = 0;
  /// An answer to a request that nobody can or will understand.
  [[nodiscard]] virtual HttpResponse refusal(int status, const std::string& why) = 0;
  /// Adds what every answer has. `request` is incomplete where its head could not be read.
  virtual void add_fields(const HttpRequest& request, HttpResponse& response) = 0;
};

/// HTTP/1.1 and 1.0: one thread waits for all connections, a few more do what computes or waits
/// (docs/adr/0016). Threading: one thread uses it.
class HttpServer {
 public:
  /// `handler` outlives it. The server answers from now on.
  HttpServer(Listener listener, HttpLimits limits, HttpHandler& handler);
  /// Requires: every HttpSource comes to its end by itself, or stop() has ended.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Takes no more connections and requests, and blocks until the answers are sent that are on their way, but
  /// no longer than `patience`: then the server cuts them off. A task that computes is waited for.
  void stop(std::chrono::milliseconds patience);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace brimful::serve
