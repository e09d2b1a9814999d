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

/// Owns a file descriptor and closes it at the end; -1 is none. Move-only.
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

// The longest lines of a request and of an answer, in bytes without the newline.
inline constexpr std::size_t kLongestRequest = std::size_t{4} * 1024;
inline constexpr std::size_t kLongestAnswer = std::size_t{64} * 1024;

/// Writes the address of the socket at `path` to `address`. Errors: kInvalidArgument for a path that is too
/// long for a socket.
[[nodiscard]] Status fill_address(const std::filesystem::path& path, sockaddr_un& address);

/// Receives one line and returns it without its newline. Returns nullopt when the other side sends no whole
/// line within `limit`, closes the connection, or sends more than `longest` bytes. Bytes after the newline
/// are lost.
/// Blocks: at most `limit`.
[[nodiscard]] std::optional<std::string> receive_line(int socket, std::size_t longest,
                                                      std::chrono::milliseconds limit);

/// Sends `line` and a newline. Returns whether everything was sent within `limit`. Blocks: at most `limit`.
bool send_line(int socket, std::string_view line, std::chrono::milliseconds limit);

}  // namespace brimful::control
