#include "serve/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <thread>

#include "serve/http_connection.h"

namespace brimful::serve {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Clock = HttpConnection::Clock;
using Phase = HttpConnection::Phase;

constexpr rlim_t kOtherFiles = 128;  // The number of descriptors for the rest of the program.
// The time until a client that could not be accepted is tried again.
constexpr std::chrono::milliseconds kAgain{50};
// The buffers of a socket in bytes for each direction. The kernel takes about twice as much.
constexpr int kKernelBuffer = 64 * 1024;

/// Lowers the number of connections when the process may not open so many files.
HttpLimits possible(HttpLimits limits) {
  struct rlimit files {};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return limits;
  const rlim_t left = files.rlim_cur - std::min(files.rlim_cur / 2, kOtherFiles);
  limits.most_connections = std::min<std::size_t>(limits.most_connections, left);
  return limits;
}

/// Returns the rank in which connections are ended when there is no room for a new client; the lowest goes
/// first. Nullopt: a connection that waits for an answer is never ended.
std::optional<int> rank_of(Phase phase) {
  switch (phase) {
    case Phase::kClosing: return 0;
    case Phase::kHead: return 1;
    case Phase::kIdle: return 2;
    case Phase::kBody: return 3;
    case Phase::kAnswering: break;
  }
  return std::nullopt;
}

void set_options(int socket) {
  const auto set = [&](int level, int name, int value) {
    ::setsockopt(socket, level, name, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_SNDBUF, kKernelBuffer);
  // A client whose machine is gone sends nothing. The kernel probes it after a minute, and then again and
  // again.
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 15);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
}

}  // namespace

struct HttpServer::State {
  State(HttpLimits limits, HttpHandler& handler) : loop(possible(limits), handler), again(loop.io) {}

  void accept_from(asio::posix::stream_descriptor& listening);
  [[nodiscard]] bool take_one(asio::posix::stream_descriptor& listening);
  void take_all(asio::posix::stream_descriptor& listening);
  [[nodiscard]] HttpConnection* least_needed() const;
  void begin_to_stop(std::chrono::milliseconds patience);

  HttpLoop loop;
  std::list<asio::posix::stream_descriptor> listening;
  asio::steady_timer again;
  std::thread thread;
};

void HttpServer::State::accept_from(asio::posix::stream_descriptor& socket) {
  socket.async_wait(asio::posix::stream_descriptor::wait_read, [this, &socket](const error_code& error) {
    if (!error) take_all(socket);
  });
}

/// Returns the connection that is needed least; null when every connection is needed.
HttpConnection* HttpServer::State::least_needed() const {
  HttpConnection* out = nullptr;
  for (HttpConnection* const one : loop.connections) {
    const auto rank = rank_of(one->phase());
    if (!rank || one->is_cut_off()) continue;
    if (out == nullptr || std::pair(*rank, one->since()) < std::pair(*rank_of(out->phase()), out->since()))
      out = one;
  }
  return out;
}

/// Accepts the client that waits longest. Returns false when none could be accepted: `errno` is EAGAIN when
/// none waits, and otherwise says why.
bool HttpServer::State::take_one(asio::posix::stream_descriptor& socket) {
  const auto open = static_cast<std::size_t>(
      std::ranges::count_if(loop.connections, [](const HttpConnection* one) { return !one->is_cut_off(); }));
  const bool is_full = open >= loop.limits.most_connections;
  HttpConnection* const spared = is_full ? least_needed() : nullptr;
  errno = EMFILE;
  if (is_full && spared == nullptr) return false;
  const int client = ::accept4(socket.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) return errno == EINTR || errno == ECONNABORTED;
  if (spared != nullptr) spared->cut_off();
  set_options(client);
  HttpConnection::start(loop, client);
  return true;
}

void HttpServer::State::take_all(asio::posix::stream_descriptor& socket) {
  try {
    while (take_one(socket)) {
    }
    if (errno == EAGAIN) return accept_from(socket);
  } catch (const std::bad_alloc&) {
    // This is handled like a process that may open no more files.
  }
  // The client waits in the kernel until another one has disconnected.
  if (HttpConnection* const spared = least_needed()) spared->cut_off();
  again.expires_after(kAgain);
  again.async_wait([this, &socket](const error_code& error) {
    if (!error) accept_from(socket);
  });
}

void HttpServer::State::begin_to_stop(std::chrono::milliseconds patience) {
  loop.stopping = true;
  listening.clear();
  again.cancel();
  for (HttpConnection* const one : loop.connections) {
    if (one->phase() != Phase::kAnswering) one->cut_off();
  }
  if (loop.connections.empty()) return;
  loop.cutting.expires_after(patience);
  loop.cutting.async_wait([this](const error_code& error) {
    if (error) return;
    for (HttpConnection* const one : loop.connections) one->cut_off();
  });
}

HttpServer::HttpServer(Listener listener, HttpLimits limits, HttpHandler& handler)
    : state_(std::make_unique<State>(limits, handler)) {
  State& state = *state_;
  for (const int socket : listener.take_sockets()) {
    // The sockets of clients inherit this option.
    ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &kKernelBuffer, sizeof kKernelBuffer);
    state.accept_from(state.listening.emplace_back(state.loop.io, socket));
  }
  state.thread = std::thread([&state] { state.loop.io.run(); });
}

HttpServer::~HttpServer() { stop({}); }

void HttpServer::stop(std::chrono::milliseconds patience) {
  State& state = *state_;
  if (!state.thread.joinable()) return;
  asio::post(state.loop.io, [&state, patience] { state.begin_to_stop(patience); });
  state.thread.join();
}

}  // namespace brimful::serve
