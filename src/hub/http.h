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

/// Some bytes of a file.
struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t size = 0;
};

/// What a server says before the first byte of its answer. Redirects have been followed.
struct Answer {
  int status = 0;
  std::string content_type;            ///< in small letters
  std::optional<std::uint64_t> first;  ///< place in the file of the first byte that is sent
  std::optional<std::uint64_t> total;  ///< size of the file
  std::string next_page;               ///< address of what goes on where this ends
};

/// Takes the bytes of an answer as they arrive; false ends the transfer there. May not throw.
using Sink = std::function<bool(const Answer& answer, std::span<const std::byte> bytes)>;

/// One connection after another, kept for the next request to the same server. Speaks http and https alone,
/// also where it is redirected to, and never turns from https to http. The token goes to the hub, and to no
/// server that the hub redirects to. Not thread-safe.
class Http {
 public:
  /// Errors: those of load_curl; kUnsupported where libcurl is too old.
  [[nodiscard]] static Result<Http> open(Settings settings);

  /// GETs an address, or a range of its bytes. A server may ignore the range and send all: so the sink ends
  /// the transfer. Blocks: until the sink has enough, or the settings' limits are passed.
  /// Errors, each with the address and what to do: kInvalidArgument where that is no address; kNotFound;
  /// kIo where the server cannot be reached, refuses or fails. The sink has then seen what came before.
  [[nodiscard]] Result<Answer> get(const std::string& url, const std::optional<ByteRange>& range,
                                   const Sink& sink);

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
};

}  // namespace brimful::hub
