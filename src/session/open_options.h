#pragma once

#include <brimful/model.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "session/devices.h"
#include "session/notes.h"

namespace brimful::session {

/// What every face lets its user choose before a model is opened.
struct OpenRequest {
  std::filesystem::path model;
  std::optional<Bytes> ram;          ///< Unset: what the machine allows.
  std::vector<VramPart> vram;        ///< Empty: no GPU is used.
  std::optional<int> threads;        ///< Of single tokens. Unset: one for each core that the process may use.
  std::optional<int> threads_batch;  ///< Of prompts. Unset: as many as `threads`.
  tier::ReaderKind reader = tier::ReaderKind::kAuto;
  Placement placement{};         ///< On which GPUs weights may lie.
  std::vector<Adapter> loras{};  ///< LoRA adapters.
  std::vector<Adapter> control_vectors{};
  std::filesystem::path draft_model{};  ///< Empty: none.
};

/// Returns the number of threads that compute when `wanted` were asked for: no more than can run. Unset: one
/// for each core that the process may use.
[[nodiscard]] int computing_threads(std::optional<std::uint32_t> wanted);

/// Makes what Engine::open() needs: the devices with their drivers' figures, threads that can run, and the
/// reader. `names` is what the face calls the options, for messages. Errors: those of offload_options() and
/// of plan::placement_rules(); kInvalidArgument for a placement without a GPU.
[[nodiscard]] Result<engine::OpenOptions> open_options(const OpenRequest& request,
                                                       const plan::OptionNames& names, const Notes& notes);

}  // namespace brimful::session
