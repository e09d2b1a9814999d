#pragma once

#include <utility>  // Boost.Asio 1.74 needs it, and does not include it

#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <exception>
#include <list>

#include "serve/http_parser.h"
#include "serve/http_server.h"
#include "serve/worker_threads.h"

namespace brimful::serve {

class HttpConnection;

/// The state that all connections of a server share. Threading: only the I/O thread uses it, except for
/// `io`, to which any thread may post.
struct HttpLoop {
  HttpLoop(HttpLimits the_limits, HttpHandler& the_handler) : limits(the_limits), handler(the_handler) {}

  /// The threads for tasks in a lane. Requires: the lane is not kNow.
  [[nodiscard]] WorkerThreads& threads_of(Lane lane);

  /// The most bytes that are received at once.
  static constexpr std::size_t kPiece = 64 * 1024;

  const HttpLimits limits;
  HttpHandler& handler;
  boost::asio::io_context io{1};
  // Received bytes, before they are added to a connection.
  std::array<char, kPiece> scratch;
  std::list<HttpConnection*> connections;
  bool stopping = false;
  // When the server stops, this timer cuts off the remaining connections. The last connection cancels it.
  boost::asio::steady_timer cutting{io};
  WorkerThreads reading{2};
  WorkerThreads files{2};
  WorkerThreads control{1};
  WorkerThreads writing{2};
};

/// The connection of one client. A coroutine on the I/O thread reads its requests and writes the answers,
/// one after the other. Threading: the I/O thread.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  using Clock = std::chrono::steady_clock;
  /// What the connection does: it reads a head, waits for the next request, reads a body, computes and sends
  /// an answer, or waits until the client has read the last answer.
  enum class Phase { kHead, kIdle, kBody, kAnswering, kClosing };

  /// Serves a client until it disconnects or the server ends the connection. Takes over `socket`, which must
  /// be non-blocking.
  static void start(HttpLoop& loop, int socket);

  HttpConnection(HttpLoop& loop, int socket);
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  /// Ends the connection without sending another byte.
  void cut_off();
  [[nodiscard]] bool is_cut_off() const { return broken_; }
  [[nodiscard]] Phase phase() const { return phase_; }
  /// The time at which the phase began.
  [[nodiscard]] Clock::time_point since() const { return since_; }

 private:
  template <typename T>
  using Awaitable = boost::asio::awaitable<T>;
  using Refused = std::optional<HttpResponse>;

  static Awaitable<void> run(std::shared_ptr<HttpConnection> self);
  Awaitable<bool> serve_one();
  Awaitable<std::expected<bool, HttpProblem>> read_head(HttpParser& parser);
  Awaitable<HttpResponse> do_task(HttpParser& parser, HttpPlan& plan);
  Awaitable<Refused> read_body(HttpParser& parser, HttpPlan& plan);
  Awaitable<bool> send_answer(const HttpRequest& request, HttpResponse response, bool keep);
  Awaitable<bool> send_whole(const HttpRequest& request, HttpResponse response, bool keep);
  Awaitable<bool> send_parts(const HttpRequest& request, HttpResponse response, bool keep);
  Awaitable<bool> send(std::string text);
  Awaitable<void> linger();
  Awaitable<bool> wait_for_source(std::chrono::milliseconds patience);

  Awaitable<std::exception_ptr> do_in(WorkerThreads& threads, std::function<void()> work);
  Awaitable<bool> receive(Clock::time_point until);
  Awaitable<void> pause(Clock::time_point until);
  void signal();
  void watch_socket();
  void take_bytes();
  void enter(Phase phase);
  [[nodiscard]] bool has_left() const { return ended_ || broken_; }
  [[nodiscard]] std::string head_of(const HttpResponse& response, std::string_view framing, bool keep) const;
  [[nodiscard]] HttpResponse failure(const std::exception_ptr& thrown);

  HttpLoop& loop_;
  boost::asio::posix::stream_descriptor socket_;
  boost::asio::steady_timer signal_;
  std::list<HttpConnection*>::iterator place_;
  std::string received_;       // Received bytes that no parser has taken yet.
  std::size_t most_received_;  // The most bytes in received_; others stay in the kernel.
  Phase phase_ = Phase::kHead;
  Clock::time_point since_ = Clock::now();
  bool signalled_ = false;
  bool watching_ = false;  // Whether watch_socket() waits for bytes.
  bool waiting_to_send_ = false;
  bool ended_ = false;                // Whether the client sends nothing more.
  std::atomic<bool> broken_ = false;  // Whether nothing can be sent any more. Worker threads read it.
  bool timed_out_ = false;            // Whether the last receive() ended because its time was over.
  bool woken_ = false;                // Whether the source has something new.
};

}  // namespace brimful::serve
