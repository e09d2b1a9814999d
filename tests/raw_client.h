#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

namespace brimful::tests {

/// An HTTP client that sends exactly the given bytes, whether they are valid or not. Every wait ends after a
/// minute, and the test fails then. Not thread-safe.
class RawClient {
 public:
  explicit RawClient(int port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    ::inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  RawClient(RawClient&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), came_(std::move(other.came_)) {}
  RawClient& operator=(RawClient&&) = delete;
  ~RawClient() { close(); }

  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }
  [[nodiscard]] int socket() const { return socket_; }

  /// Sends `bytes`. Returns whether the kernel accepted all of them.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t some = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (some <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(some));
    }
    return true;
  }
  /// Tells the server that no more bytes follow. Answers can still be read.
  void end_sending() { ::shutdown(socket_, SHUT_WR); }

  /// Returns everything that the server sends until it ends the connection.
  std::string read_all() {
    while (read_more()) {
    }
    return std::exchange(came_, {});
  }
  /// Returns one answer: its head, and as much of a body as Content-Length says. Empty when the connection
  /// ended before.
  std::string read_answer(bool has_body = true) {
    std::size_t end = 0;
    while ((end = came_.find("\r\n\r\n")) == std::string::npos) {
      if (!read_more()) return {};
    }
    std::size_t size = end + 4;
    const std::size_t length = came_.find("Content-Length: ");
    if (has_body && length < end) size += std::stoul(came_.substr(length + 16));
    while (came_.size() < size) {
      if (!read_more()) return {};
    }
    std::string out = came_.substr(0, size);
    came_.erase(0, size);
    return out;
  }
  /// Waits until `text` has arrived. Returns false when the connection ends before.
  bool wait_for(std::string_view text) {
    while (!came_.contains(text)) {
      if (!read_more()) return false;
    }
    return true;
  }
  /// Waits, and returns whether the server ended the connection without sending anything before.
  bool is_ended() { return !read_more() && came_.empty(); }

 private:
  bool read_more() {
    pollfd waiting{socket_, POLLIN, 0};
    if (::poll(&waiting, 1, 60'000) != 1) {
      ADD_FAILURE() << "the server did not answer within a minute";
      return false;
    }
    char bytes[16 * 1024];
    const ssize_t some = ::recv(socket_, bytes, sizeof bytes, 0);
    if (some <= 0) return false;
    came_.append(bytes, static_cast<std::size_t>(some));
    return true;
  }

  int socket_;
  std::string came_;
};

}  // namespace brimful::tests
