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

/// What the face calls these options, for messages.
struct OptionNames {
  std::string ram = "ram";
  std::string vram = "vram";
  std::string threads = "threads";
  std::string threads_batch = "prompt_threads";
  std::string placement = "placement";  ///< Everything that says where weights may lie.
  std::string placement_rules = "placement.rules";
  std::string prompt_tokens = "prompt_tokens";  ///< The length of the prompts that a plan is made for.
  std::string machine = "Machine::like()";      ///< How a plan for another machine is asked for.
};

/// Returns the number of threads that compute when `wanted` were asked for: no more than can run. Unset: one
/// for each core that the process may use.
[[nodiscard]] int computing_threads(std::optional<std::uint32_t> wanted);

/// Makes what Engine::open() needs: the devices with their drivers' figures, threads that can run, and the
/// reader. Errors: those of offload_options() and of
/// plan::placement_rules(); kInvalidArgument for a placement without a GPU.
[[nodiscard]] Result<engine::OpenOptions> open_options(const OpenRequest& request, const OptionNames& names,
                                                       const Notes& notes);

}  // namespace brimful::session
