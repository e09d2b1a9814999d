#include "control/connection.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace brimful::control {
namespace {

using Clock = std::chrono::steady_clock;

/// Waits for `events`. Returns whether they came before `end`.
bool wait_for(int socket, short events, Clock::time_point end) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd waiting{socket, events, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Status fill_address(const std::filesystem::path& path, sockaddr_un& address) {
  const std::string name = path.string();
  address = {};
  address.sun_family = AF_UNIX;
  if (name.size() >= sizeof address.sun_path) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: is too long for the path of a socket (at most "
                                                         "{} bytes); set XDG_RUNTIME_DIR to a shorter path",
                                                         name, sizeof address.sun_path - 1));
  }
  std::ranges::copy(name, static_cast<char*>(address.sun_path));
  return {};
}

std::optional<std::string> receive_line(int socket, std::size_t longest, std::chrono::milliseconds limit) {
  const auto end = Clock::now() + limit;
  std::string line;
  std::array<char, 1024> piece{};
  while (line.size() <= longest && wait_for(socket, POLLIN, end)) {
    const ssize_t got = ::recv(socket, piece.data(), piece.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return std::nullopt;
    line.append(piece.data(), static_cast<std::size_t>(got));
    if (const std::size_t newline = line.find('\n'); newline != std::string::npos) {
      line.resize(newline);
      return line;
    }
  }
  return std::nullopt;
}

bool send_line(int socket, std::string_view line, std::chrono::milliseconds limit) {
  const auto end = Clock::now() + limit;
  std::string text(line);
  text += '\n';
  for (std::size_t sent = 0; sent < text.size();) {
    if (!wait_for(socket, POLLOUT, end)) return false;
    const ssize_t some = ::send(socket, text.data() + sent, text.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (some < 0 && errno != EINTR && errno != EAGAIN) return false;
    if (some > 0) sent += static_cast<std::size_t>(some);
  }
  return true;
}

}  // namespace brimful::control
