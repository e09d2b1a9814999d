#include "serve/listener.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace brimful::serve {
namespace {

constexpr int kWaiting = 1024;  // The number of clients that may wait in the kernel, which may lower it.

std::string without_brackets(const std::string& host) {
  const bool has_brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  return has_brackets ? host.substr(1, host.size() - 2) : host;
}

int port_of(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

/// The bytes of an address without its port.
std::string_view address_of(const addrinfo& at) {
  if (at.ai_family == AF_INET6) {
    const auto& address = reinterpret_cast<const sockaddr_in6*>(at.ai_addr)->sin6_addr;
    return {reinterpret_cast<const char*>(&address), sizeof address};
  }
  const auto& address = reinterpret_cast<const sockaddr_in*>(at.ai_addr)->sin_addr;
  return {reinterpret_cast<const char*>(&address), sizeof address};
}

void set_port(sockaddr* address, int port) {
  const auto number = htons(static_cast<std::uint16_t>(port));
  if (address->sa_family == AF_INET6) reinterpret_cast<sockaddr_in6*>(address)->sin6_port = number;
  if (address->sa_family == AF_INET) reinterpret_cast<sockaddr_in*>(address)->sin_port = number;
}

/// Returns whether the same address occurs before `at` in the list.
bool is_repeated(const addrinfo* first, const addrinfo* at) {
  for (const addrinfo* one = first; one != at; one = one->ai_next) {
    if (one->ai_family == at->ai_family && address_of(*one) == address_of(*at)) return true;
  }
  return false;
}

/// Returns a socket that listens, or -1 with the reason in errno.
int listen_at(const addrinfo& at) {
  const int out = ::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (out < 0) return -1;
  const int on = 1;
  // Without SO_REUSEPORT, a second server at this address fails instead of taking turns with the first one.
  ::setsockopt(out, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (at.ai_family == AF_INET6) {
    const auto* const address = reinterpret_cast<const sockaddr_in6*>(at.ai_addr);
    // The address `::` also means IPv4.
    const int only = IN6_IS_ADDR_UNSPECIFIED(&address->sin6_addr) ? 0 : 1;
    ::setsockopt(out, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
  }
  if (::bind(out, at.ai_addr, at.ai_addrlen) == 0 && ::listen(out, kWaiting) == 0) return out;
  const int why = errno;
  ::close(out);
  errno = why;
  return -1;
}

std::unexpected<Error> cannot_listen(const std::string& host, int port, int why) {
  std::string reason = std::strerror(why);
  if (why == EADDRINUSE) reason = "another program has this port; choose another one with --port";
  if (why == EADDRNOTAVAIL) reason = "this machine has no such address; choose another one with --host";
  if (why == EACCES)
    reason =
        "this user may not use the port: ports below 1024 need the capability CAP_NET_BIND_SERVICE; choose "
        "one from 1024 on with --port";
  return fail(ErrorCode::kIo, fmt::format("cannot listen on {}:{}: {}", host, port, reason));
}

}  // namespace

Listener::Listener(Listener&& other) noexcept
    : host_(std::move(other.host_)), sockets_(std::exchange(other.sockets_, {})), port_(other.port_) {}

Listener::~Listener() {
  for (const int socket : sockets_) ::close(socket);
}

std::vector<int> Listener::take_sockets() { return std::exchange(sockets_, {}); }

std::string Listener::url() const {
  return host_.contains(':') ? fmt::format("http://[{}]:{}", host_, port_)
                             : fmt::format("http://{}:{}", host_, port_);
}

Result<Listener> Listener::bind(const std::string& host, int port) {
  Listener out(without_brackets(host));
  out.port_ = port;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (host.empty())
    return fail(ErrorCode::kInvalidArgument, "--host: is empty; use 127.0.0.1 for this machine alone");
  if (const int error = ::getaddrinfo(out.host_.c_str(), nullptr, &hints, &found); error != 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--host {}: the address cannot be resolved: {}", host, ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  int why = EADDRNOTAVAIL;
  for (const addrinfo* at = addresses.get(); at != nullptr; at = at->ai_next) {
    if (is_repeated(addresses.get(), at)) continue;
    set_port(at->ai_addr, out.port_);
    const int socket = listen_at(*at);
    if (socket >= 0) {
      out.sockets_.push_back(socket);
      out.port_ = port_of(socket);
      continue;
    }
    // The name may have addresses that this machine does not have. With port 0, the port that the kernel
    // chose for the first address may be in use at the second one.
    const bool may_lack =
        errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT || (port == 0 && errno == EADDRINUSE);
    if (!may_lack) return cannot_listen(out.host_, port, errno);
    why = errno;
  }
  if (out.sockets_.empty()) return cannot_listen(out.host_, port, why);
  return out;
}

}  // namespace brimful::serve
