#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace brimful::serve {

/// Sockets that listen at an address. Clients can connect from now on, and wait until an HttpServer takes
/// the sockets over.
/// Move-only.
class Listener {
 public:
  /// Listens at every address of `host`: a name such as `localhost` can have an address of IPv4 and one of
  /// IPv6. Port 0 means any free port.
  /// Errors: kInvalidArgument for a host that does not exist; kIo when the address or port cannot be used.
  [[nodiscard]] static Result<Listener> bind(const std::string& host, int port);
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  [[nodiscard]] int port() const { return port_; }
  /// The address in the form for a browser, such as `http://[::1]:8080`.
  [[nodiscard]] std::string url() const;
  /// Gives the sockets to the caller, who closes them.
  [[nodiscard]] std::vector<int> take_sockets();

 private:
  explicit Listener(std::string host) : host_(std::move(host)) {}

  std::string host_;
  std::vector<int> sockets_;
  int port_ = 0;
};

}  // namespace brimful::serve
