#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "hub/curl.h"
#include "hub/settings.h"

namespace brimful::hub {

/// A range of a file: `size` bytes from the position `first` on.
struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t size = 0;
};

/// The head of a server's answer, after all redirects.
struct Answer {
  /// The status code of HTTP.
  int status = 0;
  /// The field Content-Type in lower case.
  std::string content_type;
  /// The position in the file of the first byte that the server sends: 0 for a whole file. Unset when the
  /// server sends a part and does not say which.
  std::optional<std::uint64_t> first;
  /// The size of the file. Unset when the server does not say it.
  std::optional<std::uint64_t> total;
  /// The address of the next page of a list; empty on the last page.
  std::string next_page;
  /// The hash that the hub says the file has (X-Linked-ETag), also when it then redirects to another server.
  /// Empty when it does not say one.
  std::string linked_etag;
};

/// Takes the bytes of an answer as they arrive. Returning false ends the transfer. It must not throw.
using Sink = std::function<bool(const Answer& answer, std::span<const std::byte> bytes)>;

/// A client for HTTP that does one request after the other, and keeps the connection for the next request to
/// the same server. It uses only http and https, also after a redirect, and never goes from https to http.
/// It sends the token to the hub only, and not to servers that the hub redirects to. Not thread-safe.
/// Move-only.
class Http {
 public:
  /// Makes a client. Errors: those of load_curl; kUnsupported when libcurl is older than 7.85 or lacks TLS;
  /// kInternal.
  [[nodiscard]] static Result<Http> open(Settings settings);

  /// GETs an address, or a range of its bytes. A server may ignore the range and send everything, so the
  /// sink has to end the transfer when it has enough.
  /// Blocks: until the answer ends, the sink returns false, or a limit of the settings is passed.
  /// Errors, each with the address and what to do: kInvalidArgument when it is no address; kNotFound;
  /// kCorrupt for an empty file; kIo when the server cannot be reached, refuses or fails. The sink may have
  /// got a part of the answer before an error.
  [[nodiscard]] Result<Answer> get(const std::string& url, const std::optional<ByteRange>& range,
                                   const Sink& sink);

  /// The status of the last request's answer; 0 when there was no answer.
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] const Settings& settings() const { return settings_; }

 private:
  struct Close {
    decltype(&::curl_easy_cleanup) cleanup;
    void operator()(CURL* handle) const { cleanup(handle); }
  };
  using Handle = std::unique_ptr<CURL, Close>;

  Http(Settings settings, const Curl& curl, Handle handle)
      : settings_(std::move(settings)), curl_(&curl), handle_(std::move(handle)) {}

  [[nodiscard]] Status prepare();
  [[nodiscard]] Status aim(const std::string& url, const std::optional<ByteRange>& range);
  template <typename Value>
  [[nodiscard]] bool set(CURLoption option, Value value) {
    return curl_->easy_setopt(handle_.get(), option, value) == CURLE_OK;
  }

  Settings settings_;
  const Curl* curl_;
  Handle handle_;
  int status_ = 0;
};

}  // namespace brimful::hub
