#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::hub {

/// The settings for requests to servers. "The hub" is the server whose models `-hf` names.
struct Settings {
  /// The hub's address, without a slash at its end.
  std::string endpoint = "https://huggingface.co";
  /// The token that identifies us to the hub, and is sent to no other server. It may be empty.
  std::string token;
  /// The file with the certificate authorities to trust. Empty: those of the system.
  std::string certificates;
  /// The proxy for http:// addresses that HTTP_PROXY names; libcurl itself reads the other variables. Empty:
  /// none. It may hold a password, so it is in no message.
  std::string http_proxy;
  /// The longest time that a connection may take to be made.
  std::chrono::milliseconds connect_limit = std::chrono::seconds(10);
  /// The longest time for which a transfer may be slower than 1 KiB/s before it is given up.
  std::chrono::seconds stall_limit = std::chrono::seconds(30);
  /// Whether no server may be asked (HF_HUB_OFFLINE).
  bool offline = false;
  /// The number of connections of a download.
  std::size_t connections = 4;
  /// The most bytes per second of a download. Unset: no limit.
  std::optional<std::uint64_t> limit_rate;
  /// The wait before a broken connection is made again. It doubles with each attempt that brings no byte.
  std::chrono::milliseconds retry_pause = std::chrono::seconds(1);

  /// Whether `url` is an address of the hub.
  [[nodiscard]] bool is_hub(std::string_view url) const;
};

/// Reads the settings from the variables HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, and CURL_CA_BUNDLE or else
/// SSL_CERT_FILE. Without HF_TOKEN, the token that `hf auth login` stored is read: the file that
/// HF_TOKEN_PATH names, else `token` in HF_HOME or in ~/.cache/huggingface. Of the proxies only HTTP_PROXY is
/// among them: libcurl itself reads http_proxy, https_proxy, all_proxy and no_proxy, the latter three also in
/// capitals. Errors: kInvalidArgument, naming the variable.
[[nodiscard]] Result<Settings> settings_from_environment();

}  // namespace brimful::hub
