#pragma once

#include <brimful/bytes.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace brimful {

/// How many bytes of one GPU's memory may be used.
struct VramBudget {
  /// The device as ggml names it, such as `CUDA0`. Empty: the next GPU that has no budget yet.
  std::string device{};
  /// Everything of this process on that device: weights, KV cache, compute buffers, and what its driver takes.
  Bytes bytes{};
};

/// Upper bounds on everything that this process holds, at every moment.
struct Budgets {
  /// Bytes of main memory: the weights in RAM, the KV cache, buffers, code, libraries, and whatever else the
  /// calling program holds. Unset: what the machine, its memory cgroup and other instances leave. More than
  /// the machine has is lowered to what it leaves, with a note.
  std::optional<Bytes> ram{};
  /// GPUs, in the order in which the model's layers are placed on them. Empty: no GPU is used.
  std::vector<VramBudget> vram{};
};

/// The bytes of one tier: `host`, or a GPU by ggml's name.
struct TierAccount {
  std::string tier{};
  Bytes budget{};
  /// Bytes by tag: `weights`, `experts`, `ring`, `kv_cache`, `compute`, `draft_model`, `runtime`, `unused`. They
  /// add up to `budget`, exactly.
  std::vector<std::pair<std::string, Bytes>> tags{};
  std::string device{};  ///< The name of the GPU, such as `NVIDIA GeForce RTX 4090`. Empty for the host.
  /// Of a GPU, since the session started: bytes of weights that were sent to it for large passes, and bytes of
  /// experts that were sent into its slots. The rest as in Statistics, for the experts of its slots.
  Bytes sent{};
  Bytes experts_sent{};
  std::uint64_t experts_used = 0;
  std::uint64_t experts_found = 0;
};

/// An earlier budget of main memory, and the most bytes that the process held while it had it. The peak is unset where
/// the kernel does not tell.
struct EarlierBudget {
  Bytes budget{};
  std::optional<Bytes> peak{};
};

/// Where every byte of the budgets is.
struct Account {
  std::vector<TierAccount> tiers{};  ///< The host first, then the GPUs.
  /// The most bytes of main memory that the process held while it had its present budget, by the kernel's count. Unset
  /// in a Plan, and where the kernel does not tell.
  std::optional<Bytes> peak{};
  std::vector<EarlierBudget> earlier{};  ///< What change_budgets() has replaced, the first one first.
  Bytes weights{};            ///< All weights of the model.
  Bytes resident_weights{};   ///< Those of them that stay in main memory.
  Bytes streamed_per_pass{};  ///< Those of them that are read from disk for every pass.
};

}  // namespace brimful
