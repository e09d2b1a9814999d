#include "cli/device_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "engine/remote_devices.h"
#include "tier/offload_device.h"

namespace strata::cli {
Result<std::vector<VramPart>> parse_vram(const std::string& text) {
  std::vector<VramPart> out;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    auto size = parse_bytes(equals == std::string::npos ? part : part.substr(equals + 1));
    if (!size) return fail(ErrorCode::kInvalidArgument, fmt::format("--vram: {}", size.error().message));
    VramPart one{part, std::nullopt, *size};
    if (equals != std::string::npos) one.name = part.substr(0, equals);
    out.push_back(std::move(one));
  }
  return out;
}

Status add_rpc_servers(const std::string& endpoints) {
  std::istringstream list(endpoints);
  for (std::string endpoint; std::getline(list, endpoint, ',');)
    STRATA_TRY_VOID(engine::add_rpc_server(endpoint));
  return {};
}

Result<std::vector<engine::OffloadOption>> offload_options(const std::string& vram) {
  const std::vector<ggml_backend_dev_t> devices = tier::gpu_devices();
  if (devices.empty()) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("--vram {}: this build sees no GPU; build it with a GPU back end of ggml, or leave "
                    "--vram out",
                    vram));
  }
  std::string names;
  for (ggml_backend_dev_t const device : devices) names += fmt::format(" {}", ggml_backend_dev_name(device));
  STRATA_TRY(const std::vector<VramPart> parts, parse_vram(vram));
  std::vector<engine::OffloadOption> out;
  for (const auto& [part, name, size] : parts) {
    const auto wanted = std::ranges::find_if(devices, [&](ggml_backend_dev_t device) {
      if (name) return *name == ggml_backend_dev_name(device);
      return std::ranges::find(out, device, &engine::OffloadOption::device) == out.end();
    });
    if (wanted == devices.end())
      return fail(ErrorCode::kInvalidArgument, fmt::format("--vram {}: the GPUs here are{}", part, names));
    if (std::ranges::find(out, *wanted, &engine::OffloadOption::device) != out.end())
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--vram {}: {} has a budget already", part, ggml_backend_dev_name(*wanted)));
    std::size_t free = 0;
    std::size_t total = 0;
    ggml_backend_dev_memory(*wanted, &free, &total);
    if (size > Bytes{total}) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--vram {}: {} has {} in all", part, ggml_backend_dev_name(*wanted),
                              format_bytes(Bytes{total})));
    }
    if (size > Bytes{}) out.push_back({*wanted, size});
  }
  return out;
}

}  // namespace strata::cli
