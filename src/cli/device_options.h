#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/engine.h"

namespace brimful::cli {

/// One part of the value of --vram: the budget of one device.
struct VramPart {
  /// The part as the user wrote it.
  std::string text;
  /// The name of the device, such as `CUDA0`. Unset: the next device.
  std::optional<std::string> name;
  Bytes size;
};

/// Parses the value of --vram: SIZE, or NAME=SIZE for each device, separated by commas. Errors:
/// kInvalidArgument.
[[nodiscard]] Result<std::vector<VramPart>> parse_vram(const std::string& text);

/// Returns a note for the case that --vram names no device: it says to which device the budget belongs, and
/// which others stay unused. `used` are the devices of `parts` in order, and `all` are those of the machine.
/// Empty when there is nothing to say.
[[nodiscard]] std::string unused_devices_note(const std::vector<VramPart>& parts,
                                              const std::vector<std::string>& used,
                                              const std::vector<std::string>& all);

/// Returns ggml's devices on this machine with their budgets by --vram. ggml's plug-ins are loaded when the
/// devices that it has already are not enough.
/// Errors: kInvalidArgument; kUnsupported when there is no device.
[[nodiscard]] Result<std::vector<engine::OffloadOption>> offload_options(const std::string& vram);

/// Returns the policy on which weights are worth sending to `device`. It is computed from the rates of this
/// machine when they were measured; otherwise it is the default.
[[nodiscard]] plan::TransferPolicy measured_transfer_policy(const model::ModelProfile& model, int threads,
                                                            ggml_backend_dev_t device);

/// Adds the devices of rpc-servers to ggml's devices. `endpoints` is HOST:PORT, or several of them separated
/// by commas.
/// Errors: those of engine::add_rpc_server.
[[nodiscard]] Status add_rpc_servers(const std::string& endpoints);

}  // namespace brimful::cli
