#pragma once

#include <brimful/budgets.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/engine.h"
#include "session/notes.h"

namespace brimful::session {

/// The budget of one GPU, as somebody gave it.
struct VramPart {
  std::string text;                 ///< As it was given, for messages: `CUDA0=8GiB`.
  std::optional<std::string> name;  ///< The device, such as `CUDA0`. Unset: the next one that has no budget.
  Bytes size;
};

/// Parses SIZE, or NAME=SIZE for each device, with commas between. Errors: kInvalidArgument; the message
/// begins with `option`.
[[nodiscard]] Result<std::vector<VramPart>> parse_vram(const std::string& text, std::string_view option);

/// The same of budgets that name their device, or none.
[[nodiscard]] std::vector<VramPart> vram_parts(const std::vector<VramBudget>& budgets);

/// A note for people where a budget names no device: which device it is the budget of, and that others stay
/// unused. `used` are the devices of `parts` in order, `all` those of the machine. Empty where nothing is
/// unclear.
[[nodiscard]] std::string unused_devices_note(const std::vector<VramPart>& parts,
                                              const std::vector<std::string>& used,
                                              const std::vector<std::string>& all, std::string_view option);

/// Finds the devices of `parts` among those that ggml has here; plug-ins are loaded where these are not
/// enough. `notes` says which devices stay unused. `option` is what messages call the budgets. Errors:
/// kInvalidArgument for a device that is not there, is named twice, or has less memory; kUnsupported where
/// there is no GPU.
[[nodiscard]] Result<std::vector<engine::OffloadOption>> offload_options(const std::vector<VramPart>& parts,
                                                                         std::string_view option,
                                                                         const Notes& notes);

/// From how many tokens on weights are uploaded to `device` for a pass: by this machine's rates where they
/// were measured, and else as plan::assumed_transfer_policy() says.
[[nodiscard]] plan::TransferPolicy measured_transfer_policy(const model::ModelProfile& model, int threads,
                                                            ggml_backend_dev_t device);

}  // namespace brimful::session
