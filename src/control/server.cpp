#include "control/server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/json_text.h"
#include "control/socket_folder.h"

namespace brimful::control {
namespace {

// The longest wait for a client that sends or reads nothing.
constexpr std::chrono::milliseconds kPatience{1000};
constexpr std::chrono::milliseconds kPause{100};
constexpr std::size_t kMostWaiting = 16;  // The most requests that wait.

std::string text_of(const nlohmann::ordered_json& json) {
  // Names of files and devices need not be UTF-8.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::unexpected<Error> no_socket(const std::filesystem::path& path) {
  return fail(ErrorCode::kIo,
              fmt::format("{}: a socket cannot be opened there: {}", path.string(), std::strerror(errno)));
}

void refuse(int socket, std::string_view why) { send_line(socket, text_of({{"error", why}}), kPatience); }

}  // namespace

void Request::answer(const nlohmann::ordered_json& answer) {
  send_line(socket_.get(), text_of(answer), kPatience);
}

Result<std::unique_ptr<Server>> Server::start() {
  BRIMFUL_TRY(const std::filesystem::path folder, socket_folder());
  const std::filesystem::path path = socket_path(folder, ::getpid());
  const std::filesystem::path unborn = std::filesystem::path(path).replace_extension(".new");
  sockaddr_un address{};
  BRIMFUL_TRY_VOID(fill_address(path, address));
  BRIMFUL_TRY_VOID(fill_address(unborn, address));
  Descriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Descriptor wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Descriptor stop(::eventfd(0, EFD_CLOEXEC));
  if (!listener || !wake || !stop) return no_socket(path);
  // The socket gets its name only when it listens: a socket on which nobody listens is removed by anyone who
  // finds it.
  ::unlink(unborn.c_str());
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), kMostWaiting) != 0 || ::rename(unborn.c_str(), path.c_str()) != 0)
    return no_socket(path);
  return std::unique_ptr<Server>(new Server(path, std::move(listener), std::move(wake), std::move(stop)));
}

Server::Server(std::filesystem::path path, Descriptor listener, Descriptor wake, Descriptor stop)
    : path_(std::move(path)), listener_(std::move(listener)), wake_(std::move(wake)), stop_(std::move(stop)) {
  // Signals must go to the thread that generates, where Ctrl-C interrupts a wait. So the server's thread
  // blocks them all.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { serve(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Server::~Server() {
  ::eventfd_write(stop_.get(), 1);
  thread_.join();
  ::unlink(path_.c_str());
  for (Request& request : requests_)
    request.answer({{"error", "the process ended before it could handle the request"}});
}

void Server::publish(const nlohmann::ordered_json& status) {
  std::string text = text_of(status);
  const std::scoped_lock lock(mutex_);
  status_.swap(text);
}

std::optional<Request> Server::take() {
  const std::scoped_lock lock(mutex_);
  if (requests_.empty()) {
    eventfd_t count = 0;
    ::eventfd_read(wake_.get(), &count);
    return std::nullopt;
  }
  Request next = std::move(requests_.front());
  requests_.pop_front();
  return next;
}

void Server::serve() {
  for (;;) {
    std::array<pollfd, 2> waiting{{{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
    if (waiting[1].revents != 0) return;
    if (waiting[0].revents == 0) continue;
    Descriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket) {
      answer(std::move(socket));
    } else {
      // There are too many open files. The client still waits, so the server tries again a little later.
      ::poll(&waiting[1], 1, static_cast<int>(kPause.count()));
    }
  }
}

void Server::answer(Descriptor socket) {
  const auto line = receive_line(socket.get(), kLongestRequest, kPatience);
  if (!line) return;
  auto parsed = parse_json(*line);
  if (!parsed || !parsed->is_object() || !parsed->contains("ask") || !(*parsed)["ask"].is_string())
    return refuse(socket.get(), "is not a request: send a JSON object with 'ask'");
  nlohmann::json request = std::move(*parsed);
  if (request["ask"] == "status") {
    std::string status;
    {
      const std::scoped_lock lock(mutex_);
      status = status_;
    }
    send_line(socket.get(), status, kPatience);
    return;
  }
  {
    const std::scoped_lock lock(mutex_);
    if (requests_.size() < kMostWaiting) {
      requests_.emplace_back(std::move(socket), std::move(request));
      ::eventfd_write(wake_.get(), 1);
      return;
    }
  }
  refuse(socket.get(), "too many requests are waiting: try again");
}

}  // namespace brimful::control
