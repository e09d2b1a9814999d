#include "serve/http_connection.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/status.hpp>
#include <cerrno>
#include <ctime>
#include <tuple>

#include "base/bytes.h"

namespace brimful::serve {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t kMostUnread = HttpParser::kLongestHead;

std::string too_large(const HttpPlan& plan) {
  return fmt::format("the body is too large: at most {} are allowed", format_bytes(Bytes{plan.largest_body}));
}

}  // namespace

WorkerThreads& HttpLoop::threads_of(Lane lane) {
  switch (lane) {
    case Lane::kFiles: return files;
    case Lane::kControl: return control;
    default: return reading;
  }
}

HttpConnection::HttpConnection(HttpLoop& loop, int socket)
    : loop_(loop), socket_(loop.io, socket), signal_(loop.io), most_received_(kMostUnread) {}

void HttpConnection::start(HttpLoop& loop, int socket) {
  const auto out = std::make_shared<HttpConnection>(loop, socket);
  out->place_ = loop.connections.insert(loop.connections.end(), out.get());
  try {
    asio::co_spawn(loop.io, run(out), asio::detached);
  } catch (...) {
    loop.connections.erase(out->place_);
    throw;
  }
}

void HttpConnection::cut_off() {
  broken_ = true;
  signal();
}

HttpConnection::Awaitable<void> HttpConnection::run(std::shared_ptr<HttpConnection> self) {
  try {
    while (co_await self->serve_one()) {
    }
  } catch (...) {
    // There was no memory for this client, or a library threw an unexpected exception. The connection ends.
  }
  error_code ignored;
  std::ignore = self->socket_.close(ignored);
  HttpLoop& loop = self->loop_;
  loop.connections.erase(self->place_);
  if (loop.stopping && loop.connections.empty()) loop.cutting.cancel();
}

/// Reads and answers one request. Returns whether another request may follow.
HttpConnection::Awaitable<bool> HttpConnection::serve_one() {
  HttpParser parser;
  const auto head = co_await read_head(parser);
  if (!head) {
    HttpResponse refused = loop_.handler.refusal(head.error().status, head.error().why);
    if (co_await send_answer(parser.request(), std::move(refused), false)) co_await linger();
    co_return false;
  }
  if (!*head) co_return false;
  std::exception_ptr thrown;
  std::variant<HttpResponse, HttpPlan> decision;
  try {
    decision = loop_.handler.begin(parser.request());
  } catch (const std::exception&) {
    thrown = std::current_exception();
  }
  HttpResponse response;
  if (thrown) {
    response = failure(thrown);
  } else if (auto* const plan = std::get_if<HttpPlan>(&decision)) {
    response = co_await do_task(parser, *plan);
  } else {
    response = std::get<HttpResponse>(std::move(decision));
  }
  if (broken_) co_return false;
  enter(Phase::kAnswering);
  const bool keep = parser.request().keep_alive && parser.is_complete() && !response.close && !ended_;
  const bool sent = co_await send_answer(parser.request(), std::move(response), keep);
  if (!broken_ && !parser.is_complete()) co_await linger();
  co_return sent&& keep && !loop_.stopping;
}

/// Returns false when the client has disconnected.
HttpConnection::Awaitable<std::expected<bool, HttpProblem>> HttpConnection::read_head(HttpParser& parser) {
  const bool is_next = phase_ == Phase::kAnswering;
  enter(is_next && received_.empty() ? Phase::kIdle : Phase::kHead);
  auto until = since_ + (phase_ == Phase::kIdle ? loop_.limits.between : loop_.limits.for_head);
  for (;;) {
    auto whole = parser.read_head(received_);
    if (!whole || *whole) co_return whole;
    if (phase_ == Phase::kIdle && !received_.empty()) {
      enter(Phase::kHead);
      until = since_ + loop_.limits.for_head;
    }
    if (co_await receive(until)) continue;
    if (timed_out_ && !received_.empty())
      co_return std::unexpected(HttpProblem{408, "the header of the request did not arrive in time"});
    co_return false;
  }
}

HttpConnection::Awaitable<HttpResponse> HttpConnection::do_task(HttpParser& parser, HttpPlan& plan) {
  const HttpRequest& request = parser.request();
  if (request.body_size && *request.body_size > plan.largest_body)
    co_return loop_.handler.refusal(413, too_large(plan));
  if (const std::string expects = lower_case(request.field("expect")); !expects.empty()) {
    if (expects != "100-continue") co_return loop_.handler.refusal(417, "Expect must be 100-continue");
    if (!parser.is_complete() && received_.empty() && request.is_http_1_1)
      co_await send("HTTP/1.1 100 Continue\r\n\r\n");
  }
  if (auto refused = co_await read_body(parser, plan)) co_return std::move(*refused);
  enter(Phase::kAnswering);
  watch_socket();
  plan.task->body_is_complete();
  HttpResponse out;
  std::exception_ptr thrown;
  const auto work = [&] { out = plan.task->answer(); };
  if (plan.lane == Lane::kNow) {
    try {
      work();
    } catch (const std::exception&) {
      thrown = std::current_exception();
    }
  } else {
    thrown = co_await do_in(loop_.threads_of(plan.lane), work);
  }
  if (thrown) co_return failure(thrown);
  co_return out;
}

HttpConnection::Awaitable<HttpConnection::Refused> HttpConnection::read_body(HttpParser& parser,
                                                                             HttpPlan& plan) {
  enter(Phase::kBody);
  const HttpLimits& limits = loop_.limits;
  std::uint64_t total = 0;
  std::string content;
  while (!parser.is_complete()) {
    content.clear();
    if (const auto read = parser.read_body(received_, content); !read)
      co_return loop_.handler.refusal(read.error().status, read.error().why);
    total += content.size();
    if (total > plan.largest_body) co_return loop_.handler.refusal(413, too_large(plan));
    if (!content.empty()) {
      Refused refused;
      std::exception_ptr thrown;
      const auto take = [&] { refused = plan.task->take(content); };
      if (plan.takes_in_lane) {
        thrown = co_await do_in(loop_.threads_of(plan.lane), take);
      } else {
        try {
          take();
        } catch (const std::exception&) {
          thrown = std::current_exception();
        }
      }
      if (thrown) co_return failure(thrown);
      if (refused) co_return refused;
    }
    if (parser.is_complete()) break;
    // Bytes after the end of this body stay in the kernel, except for a few.
    const std::uint64_t expected = parser.request().body_size ? *parser.request().body_size - total : 0;
    most_received_ = std::clamp<std::size_t>(expected, kMostUnread, HttpLoop::kPiece);
    const auto slowest =
        std::chrono::milliseconds(total * 1000 / std::max<std::uint64_t>(limits.slowest_body, 1));
    const auto until = limits.for_silence + std::min(Clock::now(), since_ + slowest);
    const bool came = co_await receive(until);
    most_received_ = kMostUnread;
    if (!came && timed_out_)
      co_return loop_.handler.refusal(408, "the body of the request did not arrive in time");
    if (!came) co_return loop_.handler.refusal(400, "the body of the request is incomplete");
  }
  co_return std::nullopt;
}

// --- Answers ---

std::string HttpConnection::head_of(const HttpResponse& response, std::string_view framing, bool keep) const {
  const auto reason = boost::beast::http::obsolete_reason(
      boost::beast::http::int_to_status(static_cast<unsigned>(response.status)));
  std::string out =
      fmt::format("HTTP/1.1 {} {}\r\n", response.status, std::string_view(reason.data(), reason.size()));
  for (const auto& [name, value] : response.fields) out += fmt::format("{}: {}\r\n", name, value);
  out += fmt::format("Date: {:%a, %d %b %Y %H:%M:%S} GMT\r\n", fmt::gmtime(std::time(nullptr)));
  out += framing;
  if (keep) {
    const auto between = std::chrono::duration_cast<std::chrono::seconds>(loop_.limits.between);
    out += fmt::format("Connection: keep-alive\r\nKeep-Alive: timeout={}\r\n\r\n", between.count());
  } else {
    out += "Connection: close\r\n\r\n";
  }
  return out;
}

HttpResponse HttpConnection::failure(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& error) {
    return loop_.handler.refusal(500, error.what());
  } catch (...) {  // An exception of a library may have no text.
    return loop_.handler.refusal(500, "an unexpected error");
  }
}

/// Sends an answer. Returns whether the client could get all of it and knows where it ends.
HttpConnection::Awaitable<bool> HttpConnection::send_answer(const HttpRequest& request, HttpResponse response,
                                                            bool keep) {
  if (response.source) co_return co_await send_parts(request, std::move(response), keep);
  co_return co_await send_whole(request, std::move(response), keep);
}

HttpConnection::Awaitable<bool> HttpConnection::send_whole(const HttpRequest& request, HttpResponse response,
                                                           bool keep) {
  loop_.handler.add_fields(request, response);
  const bool has_body = response.status != 204 && response.status != 304;
  std::string text =
      head_of(response, has_body ? fmt::format("Content-Length: {}\r\n", response.body.size()) : "",
              keep && !response.close && !loop_.stopping);
  if (request.method != "HEAD" && has_body) text += response.body;
  response.body = {};
  co_return co_await send(std::move(text)) && !response.close;
}

HttpConnection::Awaitable<bool> HttpConnection::send_parts(const HttpRequest& request, HttpResponse response,
                                                           bool keep) {
  const std::shared_ptr<HttpSource> source = response.source;
  // The source calls wake no more after leave(). A call that was posted before finds the connection gone.
  auto pending = std::make_shared<std::atomic<bool>>(false);
  source->watch([weak = weak_from_this(), &io = loop_.io, pending] {
    if (pending->exchange(true)) return;
    asio::post(io, [weak, pending] {
      pending->store(false);
      const auto self = weak.lock();
      if (!self) return;
      self->woken_ = true;
      self->signal();
    });
  });
  const std::shared_ptr<void> leaving(nullptr, [&](void*) { source->leave(); });
  const bool chunked = !response.length && request.is_http_1_1;
  keep = keep && (chunked || response.length);
  for (bool begun = false;;) {
    woken_ = false;
    HttpSource::Part part;
    const auto next = [&] { part = source->next(); };
    const std::exception_ptr thrown =
        co_await do_in(source->waits_for_disk() ? loop_.files : loop_.writing, next);
    if (broken_ || (thrown && begun)) co_return false;
    if (thrown) part.whole = failure(thrown);
    if (part.whole) co_return co_await send_whole(request, std::move(*part.whole), keep);
    std::string text;
    if (!begun && (part.ends || !part.bytes.empty())) {
      begun = true;
      loop_.handler.add_fields(request, response);
      keep = keep && !loop_.stopping;
      std::string framing = chunked ? "Transfer-Encoding: chunked\r\n" : "";
      if (response.length) framing = fmt::format("Content-Length: {}\r\n", *response.length);
      text = head_of(response, framing, keep);
      if (request.method == "HEAD") co_return co_await send(std::move(text)) && keep;
    }
    if (chunked && !part.bytes.empty()) {
      text += fmt::format("{:x}\r\n", part.bytes.size());
      part.bytes += "\r\n";
    }
    text += part.bytes;
    if (chunked && part.ends) text += "0\r\n\r\n";
    part.bytes = {};
    if (!text.empty() && !co_await send(std::move(text))) co_return false;
    if (part.ends) co_return keep;
    if (!co_await wait_for_source(part.patience)) co_return false;
  }
}

/// Returns false when the client has disconnected.
HttpConnection::Awaitable<bool> HttpConnection::wait_for_source(std::chrono::milliseconds patience) {
  const auto until = Clock::now() + patience;
  while (!woken_ && Clock::now() < until) {
    if (has_left()) co_return false;
    watch_socket();
    co_await pause(until);
  }
  co_return !broken_;
}

/// Sends `text`. Returns whether the client took all of it.
HttpConnection::Awaitable<bool> HttpConnection::send(std::string text) {
  std::string_view left = text;
  auto until = Clock::now() + loop_.limits.for_writing;
  std::size_t sent = 0;
  while (!left.empty() && !broken_) {
    const ssize_t some =
        ::send(socket_.native_handle(), left.data(), left.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (some > 0) {
      left.remove_prefix(static_cast<std::size_t>(some));
      sent += static_cast<std::size_t>(some);
      if (sent < HttpLoop::kPiece) continue;
      sent = 0;
      until = Clock::now() + loop_.limits.for_writing;
      continue;
    }
    if (some < 0 && errno == EINTR) continue;
    if (errno != EAGAIN || Clock::now() >= until) {
      broken_ = true;
      break;
    }
    if (!waiting_to_send_) {
      waiting_to_send_ = true;
      socket_.async_wait(asio::posix::stream_descriptor::wait_write,
                         [self = shared_from_this()](const error_code&) {
                           self->waiting_to_send_ = false;
                           self->signal();
                         });
    }
    co_await pause(until);
  }
  co_return !broken_;
}

/// Waits until the client has read the answer. A client that still sends would not read it if the connection
/// were closed at once, because the kernel would reset the connection.
HttpConnection::Awaitable<void> HttpConnection::linger() {
  enter(Phase::kClosing);
  ::shutdown(socket_.native_handle(), SHUT_WR);
  const auto until = Clock::now() + loop_.limits.to_linger;
  do received_.clear();
  while (!loop_.stopping && co_await receive(until));
}

// --- Waiting ---

void HttpConnection::enter(Phase phase) {
  phase_ = phase;
  since_ = Clock::now();
}

void HttpConnection::signal() {
  signalled_ = true;
  signal_.cancel();
}

/// Waits until signal() is called, or until the time `until`.
HttpConnection::Awaitable<void> HttpConnection::pause(Clock::time_point until) {
  if (!signalled_) {
    error_code ignored;
    signal_.expires_at(until);
    co_await signal_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  signalled_ = false;
}

/// Runs `work` on one of `threads`, and returns the exception that it threw. The work is not done when the
/// client has disconnected.
HttpConnection::Awaitable<std::exception_ptr> HttpConnection::do_in(WorkerThreads& threads,
                                                                    std::function<void()> work) {
  std::exception_ptr thrown;
  bool done = false;
  // The coroutine waits here, so everything that `work` refers to outlives it.
  const bool posted = threads.post([&] {
    try {
      if (!broken_) work();
    } catch (...) {
      thrown = std::current_exception();
    }
    asio::post(loop_.io, [&] {
      done = true;
      signal();
    });
  });
  if (!posted) throw std::bad_alloc();
  while (!done) co_await pause(Clock::time_point::max());
  co_return thrown;
}

/// Waits for more bytes. Returns whether some arrived.
HttpConnection::Awaitable<bool> HttpConnection::receive(Clock::time_point until) {
  const std::size_t before = received_.size();
  timed_out_ = false;
  for (;;) {
    if (received_.size() != before) co_return true;
    if (has_left()) co_return false;
    timed_out_ = Clock::now() >= until;
    if (timed_out_) co_return false;
    watch_socket();
    co_await pause(until);
  }
}

/// Waits in the background for bytes from the client, or for its disconnection.
void HttpConnection::watch_socket() {
  if (watching_ || has_left() || received_.size() >= most_received_) return;
  watching_ = true;
  socket_.async_wait(asio::posix::stream_descriptor::wait_read,
                     [self = shared_from_this()](const error_code& error) {
                       self->watching_ = false;
                       if (!error && self->socket_.is_open()) self->take_bytes();
                       self->signal();
                     });
}

void HttpConnection::take_bytes() {
  const std::size_t room =
      std::min(most_received_ - std::min(most_received_, received_.size()), loop_.scratch.size());
  const ssize_t got = ::recv(socket_.native_handle(), loop_.scratch.data(), room, MSG_DONTWAIT);
  if (got == 0 && room > 0) ended_ = true;
  if (got < 0 && errno != EAGAIN && errno != EINTR) broken_ = true;
  if (got > 0) received_.append(loop_.scratch.data(), static_cast<std::size_t>(got));
  // Between the parts of an answer nobody waits for bytes. This goes on watching for the client's
  // disconnection.
  if (got > 0 && phase_ == Phase::kAnswering) watch_socket();
}

}  // namespace brimful::serve
