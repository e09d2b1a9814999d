#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

struct sockaddr_un;

namespace brimful::control {

/// A file descriptor that is closed when nobody needs it any more.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] explicit operator bool() const { return fd_ >= 0; }

 private:
  int release() { return std::exchange(fd_, -1); }
  int fd_;
};

/// Lines are at most this many bytes.
inline constexpr std::size_t kLongestRequest = std::size_t{4} * 1024;
inline constexpr std::size_t kLongestAnswer = std::size_t{64} * 1024;

/// Errors: kInvalidArgument for a path that is too long for a socket.
[[nodiscard]] Status fill_address(const std::filesystem::path& path, sockaddr_un& address);

/// The next line, without its newline. Nothing where the other side sends none within `limit`, ends, or sends
/// more than `longest`.
[[nodiscard]] std::optional<std::string> receive_line(int socket, std::size_t longest,
                                                      std::chrono::milliseconds limit);

/// Whether all of it was sent within `limit`, with a newline behind it.
bool send_line(int socket, std::string_view line, std::chrono::milliseconds limit);

}  // namespace brimful::control
