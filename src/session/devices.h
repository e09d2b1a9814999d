#pragma once

#include <brimful/budgets.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/engine.h"
#include "plan/host_layout.h"
#include "session/notes.h"

namespace brimful::session {

/// The budget of one GPU, as somebody gave it.
struct VramPart {
  std::string text;                 ///< As it was given, for messages: `CUDA0=8GiB`.
  std::optional<std::string> name;  ///< The device, such as `CUDA0`. Unset: the next one that has no budget.
  std::optional<Bytes> size;        ///< Unset: what the device has free, see card_budget().

  /// Whether the device is not to be used.
  [[nodiscard]] bool is_nothing() const { return size == Bytes{}; }
};

/// Stands for a size that is not named.
inline constexpr std::string_view kAutomatic = "auto";

/// Parses SIZE, or NAME=SIZE for each device, with commas between. SIZE may be kAutomatic. Errors:
/// kInvalidArgument; the message begins with `option`.
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
/// enough, and returned in the order in which they are filled. Only devices with a budget are asked for more
/// than their name. `account`: the cards before any of them was started. `notes` says which devices stay
/// unused, and what card_budget() says. `option` is what messages call the budgets. Errors: kInvalidArgument
/// for a device that is not there, is named twice, or has less memory; kUnsupported where there is no GPU, or
/// where NVML cannot tell which one it is; kInfeasible where a budget without a size is nothing.
[[nodiscard]] Result<std::vector<engine::OffloadOption>> offload_options(const std::vector<VramPart>& parts,
                                                                         const engine::DriverAccount& account,
                                                                         std::string_view option,
                                                                         const Notes& notes);

/// The same among these devices.
[[nodiscard]] Result<std::vector<engine::OffloadOption>> offload_options_among(
    const std::vector<ggml_backend_dev_t>& devices, const std::vector<VramPart>& parts,
    const engine::DriverAccount& account, std::string_view option, const Notes& notes);

/// The memory of a device before this process has used it: as NVML says it, or else as ggml does, where
/// nobody says what other programs hold. Starts the device's driver. Errors: those of DriverAccount::card().
[[nodiscard]] Result<hardware::Gpu> card_before(ggml_backend_dev_t device,
                                                const engine::DriverAccount& account);

/// From how many tokens on weights are uploaded to `device` for a pass: by this machine's rates where they
/// were measured, and else as plan::assumed_transfer_policy() says.
[[nodiscard]] plan::TransferPolicy measured_transfer_policy(const model::ModelProfile& model, int threads,
                                                            ggml_backend_dev_t device);

/// In which layout the host keeps weights that are uploaded to `device`: by this machine's rates where they
/// were measured, and else in the one that ggml-cpu is fastest with.
[[nodiscard]] plan::HostLayout measured_host_layout(const model::ModelProfile& model, int threads,
                                                    ggml_backend_dev_t device);

}  // namespace brimful::session
