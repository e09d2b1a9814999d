#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::engine {

/// Adds the devices of ggml's rpc-server at `endpoint` (`HOST:PORT`) to ggml's devices here, as RPC0, RPC1
/// and so on. ggml trusts its servers: a server that goes away later, or sends wrong data, ends this process.
/// `option` is what messages call the endpoint. Errors: kNotFound when no such server answers. Blocks: up to
/// 10 s. Call it before this process has other threads.
[[nodiscard]] Status add_rpc_server(const std::string& endpoint, std::string_view option);

}  // namespace brimful::engine
