#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/engine.h"

namespace brimful::cli {

/// One part of --vram.
struct VramPart {
  std::string text;                 ///< as it was given
  std::optional<std::string> name;  ///< `CUDA0`; nothing: the next device
  Bytes size;
};

/// SIZE, or NAME=SIZE for each device, with commas between. Errors: kInvalidArgument.
[[nodiscard]] Result<std::vector<VramPart>> parse_vram(const std::string& text);

/// What a person has to know where --vram names no device: which one it is the budget of, and that others
/// stay unused. `used` are the devices of `parts` in order, `all` those of the machine. Empty where there is
/// nothing to say.
[[nodiscard]] std::string unused_devices_note(const std::vector<VramPart>& parts,
                                              const std::vector<std::string>& used,
                                              const std::vector<std::string>& all);

/// What --vram gives of the devices that ggml has here; plug-ins are loaded where these are not enough.
/// Errors: kInvalidArgument; kUnsupported without any.
[[nodiscard]] Result<std::vector<engine::OffloadOption>> offload_options(const std::string& vram);

/// Which weights are worth sending to `device`: by this machine's rates, where they were measured.
[[nodiscard]] plan::TransferPolicy measured_transfer_policy(const model::ModelProfile& model, int threads,
                                                            ggml_backend_dev_t device);

/// HOST:PORT of rpc-servers, with commas between: their devices are ggml's from now on. Errors: those of
/// engine::add_rpc_server.
[[nodiscard]] Status add_rpc_servers(const std::string& endpoints);

}  // namespace brimful::cli
