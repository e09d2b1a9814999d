#pragma once

#include <brimful/bytes.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace brimful {

/// The limit on the memory that this process may use on one GPU.
struct VramBudget {
  /// The name that ggml gives the GPU, such as `CUDA0`. Empty: the first GPU in ggml's order that no other entry of the
  /// list names or gets.
  std::string device{};
  /// The largest number of bytes of this process on the GPU: weights, KV cache, compute buffers, and the memory that
  /// the GPU's driver takes. 0: the GPU is not used. Unset: what the GPU has free, less a reserve for other programs
  /// (256 MiB, or 512 MiB if a program draws on the GPU), rounded down to 128 MiB. If the number is larger than what is
  /// free, the budget is chosen in the same way. A note says so in both cases (Session::notes(), Plan::notes).
  /// change_budgets() needs a number.
  std::optional<Bytes> bytes{};
};

/// Limits on the memory of this process. They hold at every moment.
struct Budgets {
  /// Bytes of main memory of this process: weights, KV cache, buffers, code, libraries, and the memory that the calling
  /// program has allocated itself. Unset: the smaller one of the memory that is available on the machine and the memory
  /// that this process's cgroup leaves, less what other Brimful processes have reserved. If the number is larger than
  /// the machine's memory, the available memory is the limit, and a note says so (Session::notes(), Plan::notes).
  std::optional<Bytes> ram{};
  /// GPUs, in the order in which the model's layers are placed on them. Empty: no GPU is used.
  std::vector<VramBudget> vram{};
};

/// How the memory of one tier is used. A tier is a kind of memory with a budget of its own: `host` is main memory;
/// every other tier is a GPU and has the name that ggml gives it.
struct TierAccount {
  std::string tier{};
  Bytes budget{};
  /// Bytes by purpose. They add up to `budget`, exactly. `weights`: weights that stay here. `experts`: a cache for the
  /// experts of a mixture of experts. `ring`: the buffer through which other weights are streamed. `kv_cache`,
  /// `compute`: the KV cache and the buffers of a pass. `draft_model`: a draft model with all its memory. `runtime`:
  /// code, libraries, drivers, and what else the process holds. `unused`: the rest of the budget.
  std::vector<std::pair<std::string, Bytes>> tags{};
  std::string device{};  ///< The name of the GPU, such as `NVIDIA GeForce RTX 4090`. Empty for the host.
  // The next four are 0 for the host.
  Bytes sent{};          ///< Bytes of weights that were copied to this GPU for long prompts since the start.
  Bytes experts_sent{};  ///< Bytes of experts that were copied into this GPU's cache of experts.
  std::uint64_t experts_used = 0;   ///< As Statistics::experts_used, for the layers that this GPU's cache serves.
  std::uint64_t experts_found = 0;  ///< How many of `experts_used` were in this GPU's cache already.
  /// The memory of the whole GPU in bytes, as NVIDIA's driver counted it at the start or at the last change of budgets:
  /// `total`, `free`, `used`. `reserved`: what driver and firmware keep; it is a part of `used`. `process`: what this
  /// process holds. `others`: what other programs hold. What the driver does not say is missing. Empty for the host,
  /// in a Plan, and for GPUs of other makers.
  std::vector<std::pair<std::string, Bytes>> card{};
};

/// A budget of main memory that was replaced by change_budgets().
struct EarlierBudget {
  Bytes budget{};
  /// The peak of the process's memory under that budget, in bytes. Unset if the kernel does not report it.
  std::optional<Bytes> peak{};
};

/// How all bytes of the budgets are used.
struct Account {
  std::vector<TierAccount> tiers{};  ///< The host first, then the GPUs.
  /// The peak of the process's main memory under its present budget, in bytes, as the kernel counts it. Unset in a
  /// Plan, and if the kernel does not report it.
  std::optional<Bytes> peak{};
  std::vector<EarlierBudget> earlier{};  ///< The budgets that change_budgets() has replaced, the oldest one first.
  Bytes weights{};                       ///< All weights of the model.
  Bytes resident_weights{};              ///< The weights that stay in main memory.
  Bytes streamed_per_pass{};             ///< The weights that every pass reads from disk.
};

}  // namespace brimful
