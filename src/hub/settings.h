#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::hub {

/// How servers are spoken to. "The hub" is the one that `-hf` names models of.
struct Settings {
  std::string endpoint = "https://huggingface.co";  ///< the hub's address, without a slash at its end
  std::string token;         ///< who we are to the hub, and to nobody else; may be empty
  std::string certificates;  ///< file of the authorities to trust; the system's where empty
  std::chrono::milliseconds connect_limit = std::chrono::seconds(10);
  std::chrono::seconds stall_limit = std::chrono::seconds(30);  ///< less than 1 KiB/s for so long: given up

  /// Whether an address is one of the hub's.
  [[nodiscard]] bool is_hub(std::string_view url) const;
};

/// From HF_ENDPOINT, HF_TOKEN, and SSL_CERT_FILE or CURL_CA_BUNDLE. (libcurl itself looks for the proxy, in
/// https_proxy and its like.) Errors: kInvalidArgument, naming the variable.
[[nodiscard]] Result<Settings> settings_from_environment();

}  // namespace brimful::hub
