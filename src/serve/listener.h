#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace brimful::serve {

/// Sockets at an address that belongs to this program from now on. Clients that connect wait until an
/// HttpServer takes the sockets over. Move-only.
class Listener {
 public:
  /// Listens at every address that `host` stands for: a name such as `localhost` can have one of IPv4 and one
  /// of IPv6. Port 0: any that is free. Errors: kInvalidArgument for a host that does not exist; kIo where
  /// the address cannot be had.
  [[nodiscard]] static Result<Listener> bind(const std::string& host, int port);
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  [[nodiscard]] int port() const { return port_; }
  /// As a person writes it into a browser, such as `http://[::1]:8080`.
  [[nodiscard]] std::string url() const;
  /// Hands the sockets over to the caller, who closes them.
  [[nodiscard]] std::vector<int> take_sockets();

 private:
  explicit Listener(std::string host) : host_(std::move(host)) {}

  std::string host_;
  std::vector<int> sockets_;
  int port_ = 0;
};

}  // namespace brimful::serve
