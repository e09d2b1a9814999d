#pragma once

#include <string>

#include "base/result.h"

namespace brimful::engine {

/// Makes the devices of the rpc-server of ggml at `endpoint` (`HOST:PORT`) devices of ggml here: RPC0, RPC1,
/// as they come. That ggml trusts its servers: a server that goes away later, or lies, ends this process.
/// Errors: kNotFound: no such server answers there. Call it before this process has other threads.
[[nodiscard]] Status add_rpc_server(const std::string& endpoint);

}  // namespace brimful::engine
