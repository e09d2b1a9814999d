#pragma once

#include <memory>
#include <variant>

#include "serve/http_message.h"
#include "serve/listener.h"

namespace brimful::serve {

/// The limits of an HttpServer.
struct HttpLimits {
  using Milliseconds = std::chrono::milliseconds;

  /// The most connections at the same time. The server lowers it when the process may open fewer files.
  std::size_t most_connections = 1024;
  /// The longest time for the head of a request, from the start of the connection or from the request's
  /// first byte.
  Milliseconds for_head{30'000};
  /// The longest time for which a connection may wait for its next request.
  Milliseconds between{75'000};
  /// The longest time without any byte while a body arrives.
  Milliseconds for_silence{30'000};
  /// The lowest average rate of a body in bytes/s, once for_silence is over.
  std::uint64_t slowest_body = 1024;
  /// The longest time in which a client may take 64 KiB of an answer.
  Milliseconds for_writing{30'000};
  /// The longest time for which the server waits, after its last answer, for a client that still sends: the
  /// client would not read the answer if the connection were closed at once.
  Milliseconds to_linger{2'000};
};

/// The threads on which a task runs. Work in one lane does not wait for work in another.
enum class Lane {
  kNow,      ///< The I/O thread. It is only for work that neither waits nor computes.
  kReading,  ///< For reading requests: JSON, chat templates, grammars.
  kFiles,    ///< For work that waits for the disk.
  kControl,  ///< For work that waits for the model, perhaps for minutes.
};

/// How a request is answered.
struct HttpPlan {
  std::unique_ptr<HttpTask> task;
  /// The lane in which HttpTask::answer() runs.
  Lane lane = Lane::kReading;
  /// Whether HttpTask::take() runs in the lane, too. Otherwise it runs on the I/O thread.
  bool takes_in_lane = false;
  /// The largest body in bytes. A larger one is answered with 413.
  std::uint64_t largest_body = 0;
  /// Whether the body has to be JSON. The HttpHandler that made the plan checks that.
  bool is_json = false;
};

/// The application behind an HttpServer. Threading: the server calls it from its I/O thread, so nothing here
/// may block.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// Decides by the head of a request alone. Returns an answer, and the body is not read; or a plan for the
  /// answer.
  [[nodiscard]] virtual std::variant<HttpResponse, HttpPlan> begin(const HttpRequest& request) = 0;
  /// Makes the answer to a request that failed in the server itself: it could not be parsed, broke a limit,
  /// or its task threw an exception.
  [[nodiscard]] virtual HttpResponse refusal(int status, const std::string& why) = 0;
  /// Adds the fields that every answer has. `request` is incomplete when its head could not be parsed.
  virtual void add_fields(const HttpRequest& request, HttpResponse& response) = 0;
};

/// A server for HTTP/1.1 and 1.0. One I/O thread waits for all connections; a few worker threads do the work
/// that computes or waits (docs/adr/0016). Threading: one thread calls the functions.
class HttpServer {
 public:
  /// Starts to answer. Lifetime: `handler` outlives the server.
  HttpServer(Listener listener, HttpLimits limits, HttpHandler& handler);
  /// Stops without patience. Requires: every HttpSource comes to its end by itself, or stop() was called.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Accepts no more connections and requests. Blocks until the current answers are sent, but at most for
  /// `patience`: then the server cuts off the remaining connections. It always waits for a task that is
  /// running.
  void stop(std::chrono::milliseconds patience);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace brimful::serve
