#include "engine/remote_devices.h"

#include <fmt/format.h>
#include <ggml-rpc.h>

#include "hardware/child_process.h"

namespace brimful::engine {
namespace {

constexpr std::chrono::seconds kPatience{10};

}  // namespace

Status add_rpc_server(const std::string& endpoint, std::string_view option) {
  // ggml ends the process when no server answers. So a child process asks first.
  const hardware::ChildEnd asked = hardware::run_in_child(
      [&] { return std::string(ggml_backend_rpc_add_server(endpoint.c_str()) != nullptr ? "yes" : "no"); },
      kPatience);
  if (asked.how != hardware::ChildEnd::How::kReturned || asked.text != "yes") {
    return fail(
        ErrorCode::kNotFound,
        fmt::format("{} {}: no ggml rpc-server answers there: give HOST:PORT of one with protocol {}.{}",
                    option, endpoint, RPC_PROTO_MAJOR_VERSION, RPC_PROTO_MINOR_VERSION));
  }
  ggml_backend_register(ggml_backend_rpc_add_server(endpoint.c_str()));
  return {};
}

}  // namespace brimful::engine
