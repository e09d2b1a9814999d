#pragma once

#include <llama.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/adapters.h"
#include "engine/driver_account.h"
#include "engine/driver_figures.h"
#include "engine/expert_heat_file.h"
#include "hardware/host_memory.h"
#include "model/model_profile.h"
#include "plan/device_split.h"
#include "plan/host_layout.h"
#include "plan/option_names.h"
#include "plan/transfer_policy.h"
#include "tier/host/host_device.h"

namespace brimful::engine {

/// A device with memory of its own, and its budget.
struct OffloadOption {
  ggml_backend_dev_t device = nullptr;
  /// The upper bound of all bytes there: weights, ring, KV cache, compute buffers and the driver.
  Bytes budget;
};

/// Whether the model's own last layers draft, where it has layers that predict further tokens.
enum class Heads {
  kNone,
  /// Where that may pay: weights are read from disk in each pass, or devices compute. Otherwise the layers
  /// take no memory.
  kWherePossible,
  kRequired,
};

/// Everything that Engine::open() needs to know.
struct OpenOptions {
  std::filesystem::path model;
  /// The host budget: the upper bound of everything that the process holds. Unset: as much as the machine
  /// allows.
  std::optional<Bytes> ram;
  int threads = 1;
  int threads_batch = 1;
  /// Unset: direct reads from disk.
  tier::ReaderFactory make_reader;
  /// Null: there is no trace. It outlives the engine, and its memory belongs to the caller.
  tier::Trace* trace = nullptr;
  /// Devices to use. They are filled in this order, before the host.
  std::vector<OffloadOption> offload;
  /// Decides which weights may lie on these devices.
  plan::PlacementFilter placement_filter;
  /// Asks the drivers for their bytes beside ggml's buffers. Unset: an assumption is used for these.
  HeldOnDevice held_on_device;
  /// Measured bytes of drivers in earlier starts. May be null.
  std::shared_ptr<DriverFigures> driver_figures;
  /// Remembers which experts were used, so that the next start has them in memory. May be null.
  std::shared_ptr<ExpertHeatFile> expert_heat;
  /// Decides from which batch size on weights are sent to the first device. Unset:
  /// plan::assumed_transfer_policy().
  std::function<plan::TransferPolicy(const model::ModelProfile&)> transfer_policy;
  /// Decides in which layout the host keeps its weights. Unset: in the one that ggml-cpu is fastest with,
  /// also where weights are sent to devices. A weight that is sent, and could not be turned back to the
  /// file's layout, keeps that in any case.
  std::function<plan::HostLayout(const model::ModelProfile&)> host_layout;
  std::vector<AdapterOption> loras;
  std::vector<AdapterOption> control_vectors;
  /// A small model for drafts. It is resident, inside the same budget.
  std::optional<std::filesystem::path> draft_model;
  /// Drafts by the model's own layers. Requires: kNone where there is a draft model.
  Heads heads = Heads::kNone;
  /// For a plan of another machine: the memory of that machine is used, not of this one. Unset: this machine.
  std::optional<hardware::HostMemory> machine;
  /// Engine::notes() begins with these.
  std::vector<std::string> notes;
  /// What messages call the options of this and of ContextOptions.
  plan::OptionNames names;
  /// True: other instances of the same user learn how much memory this one will take, and wait while it
  /// decides.
  bool claims_memory = true;
  /// The weights may be missing when nothing will be computed.
  model::Weights weights = model::Weights::kRequired;
};

/// New budgets. A budget that is not named stays as it is.
struct BudgetChange {
  std::optional<Bytes> ram;
  /// Budgets by the device's name, for devices of OpenOptions::offload.
  std::vector<std::pair<std::string, Bytes>> vram;
};

/// Drafts are tokens that are guessed and computed in the same pass as the newest token (speculative
/// decoding).
struct DraftOptions {
  /// True: a draft is the text that followed the last time when the newest tokens occurred in the text.
  bool ngrams = false;
  /// The largest number of tokens in a draft. Unset: as many as cost little memory, and none when that does
  /// not fit or the model does not support it.
  std::optional<std::uint32_t> longest;
  /// True: drafts are as long as possible, even when they cost time. For measurements and tests.
  bool always = false;
};

/// Bytes that the caller will still allocate when the host budget has `budget` bytes. They may grow with the
/// budget, by less than the budget does.
using ClientReserve = std::function<Bytes(Bytes budget)>;

/// Looks at the nodes of graphs while they are computed, as ggml_backend_sched_eval_callback says.
struct NodeObserver {
  /// Null: nobody looks. It must not throw.
  ggml_backend_sched_eval_callback look = nullptr;
  void* data = nullptr;
};

/// The shape of a context. Fields that are unset may be adapted to the budget.
struct ContextOptions {
  /// Number of tokens; 0: the context that the model was trained for.
  std::optional<std::uint32_t> context;
  /// The largest number of tokens in one call of llama_decode(). Unset: 2048, or the ubatch if that is
  /// larger.
  std::optional<std::uint32_t> batch;
  /// The largest number of tokens in one pass.
  std::optional<std::uint32_t> ubatch;
  /// Number of sequences in the context.
  std::uint32_t sequences = 1;
  /// True: every sequence may use all cells of the context, and a batch is one ubatch.
  bool shared_cells = false;
  /// The largest number of tokens of a batch whose logits are wanted. Unset: one of each sequence. With a
  /// number, a batch may be larger than a ubatch, and is computed in several passes.
  std::optional<std::uint32_t> outputs;
  /// The number of tokens that each sequence of a batch has. It counts only where `outputs` is set.
  std::uint32_t sequence_tokens = 0;
  /// Sees the nodes of every graph that is computed, and none of those that are only recorded.
  NodeObserver observer;
  /// True: models that only embed are accepted.
  bool embeddings = false;
  /// Length of the first prompt, in tokens; 0: not known. The ubatch is made for it.
  std::uint32_t prompt_tokens = 0;
  /// A context that is adapted to the budget has at least this number of tokens.
  std::uint32_t least_context = 256;
  ggml_type type_k = GGML_TYPE_F16;
  ggml_type type_v = GGML_TYPE_F16;
  llama_flash_attn_type flash_attention = LLAMA_FLASH_ATTN_TYPE_AUTO;
  /// Drafts. If there is a draft model, it drafts in any case; for the model's own heads see
  /// OpenOptions::heads.
  DraftOptions drafts;
  /// For example for samplers and grammars. Unset: nothing.
  ClientReserve client_reserve;
  /// Bytes for the weights, as an earlier plan has decided. Unset: everything that the budget leaves.
  std::optional<Bytes> for_weights;
};

}  // namespace brimful::engine
