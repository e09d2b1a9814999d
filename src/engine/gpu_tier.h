#pragma once

#include <llama.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/budgeted_gpu.h"
#include "engine/context_sizer.h"
#include "engine/model_loader.h"
#include "engine/options.h"
#include "memory/pool.h"
#include "plan/device_split.h"
#include "tier/host/host_device.h"

namespace brimful::engine {

/// The devices of OpenOptions::offload, each with its budget, and the model whose layers lie on them. It may
/// have no devices; nearly all functions do nothing then. Its functions are called in this order:
///   1. split() and load(); the context is made with model(); settle() says whether the split fits;
///   2. place() reads the weights; connect(), once the host's weights are in their places;
///   3. for another split: disconnect(), forget_buffers() once the context is gone, displace(), and from 1.
/// Threading: as the engine. Lifetime: it must outlive every context that was made with model().
class GpuTier {
 public:
  /// All arguments outlive this.
  GpuTier(const OpenOptions& options, const model::ModelProfile& profile, tier::HostDevice& host);
  GpuTier(const GpuTier&) = delete;
  GpuTier& operator=(const GpuTier&) = delete;

  /// Whether there are no devices.
  [[nodiscard]] bool empty() const { return gpus_.empty(); }

  /// The budgets of all devices, for split(). `compute`: the compute buffers that are expected on each.
  /// `pinned`: the most bytes of the host's weights that will be pinned for the first device.
  [[nodiscard]] std::vector<plan::DeviceBudget> budgets_for(ContextShape shape, Bytes compute, Bytes pinned);
  /// Decides what lies on the devices. `whole`: the demand when the host holds everything. `decode`: the work
  /// of a step then. Requires: there is a device.
  [[nodiscard]] plan::DeviceSplit split(const plan::HostDemand& whole,
                                        std::vector<plan::DeviceBudget> budgets, ContextShape shape,
                                        const plan::GraphWork& decode) const;
  /// Loads the model for this split, without weights; an empty split leaves all to the host. Requires: no
  /// context lives. Errors: those of load_without_weights().
  [[nodiscard]] Status load(const plan::DeviceSplit& split);
  /// The model to compute with; null when no layer lies on a device.
  [[nodiscard]] llama_model* model() const { return model_.get(); }
  /// Reads the real sizes of the split from the context that was made with it. Returns false when a device
  /// would pass its budget; `budgets` has better estimates then. Errors: kBudgetExceeded.
  [[nodiscard]] Result<bool> settle(const llama_context* context, std::vector<plan::DeviceBudget>& budgets);

  /// What the devices compute of batches whose weights are sent to them. `ubatch`: the tokens of the largest
  /// pass.
  [[nodiscard]] tier::HostDevice::Elsewhere batches_elsewhere(std::uint32_t ubatch,
                                                              std::uint32_t sequences) const;
  /// Numbers of tokens above which devices begin to compute more of a pass; none without devices.
  [[nodiscard]] std::vector<std::int64_t> batch_thresholds() const;
  /// Whether a device has slots for experts.
  [[nodiscard]] bool has_experts() const;
  /// Leaves the experts of all devices to the host, or takes them back. It serves to record what the host
  /// needs then.
  void leave_experts(bool on);
  /// Sets what the next steps with experts are taken to lack.
  void pretend(tier::Lack lack);
  /// Sets whether graphs are skipped, see BackendDevice::skip_computing().
  void skip_computing(bool on);
  /// Sets which numbers of tokens the passes have whose tokens are kept apart. host_bytes() counts what they
  /// take once they are recorded.
  void set_draft_passes(std::vector<std::uint32_t> tokens) { draft_passes_ = std::move(tokens); }
  /// As HostDevice's functions of the same names.
  void learn_one_token();
  void token_by_token(bool on);
  [[nodiscard]] bool matched() const;
  /// The largest number of tokens of a pass that devices compute as they compute one token: no matrices are
  /// sent to them, and slots have room for all experts that are sent. Unset: there is no limit.
  [[nodiscard]] std::optional<std::int64_t> most_tokens_of_decode() const;
  /// The largest number of tokens of the next pass whose tokens are kept apart; experts in slots change
  /// behind it. Unset: there is no limit.
  [[nodiscard]] std::optional<std::size_t> room_for_deferred() const;
  /// As GpuDevice's functions of the same names.
  void freeze_experts(bool on);
  [[nodiscard]] Status settle_experts(std::size_t tokens);
  /// Sets whether passes measure kernels, see SingleColumns::measure_kernels().
  void measure_kernels(bool on);
  /// Sets the tokens of the passes that are digested, see SingleColumns::digest_passes(). 0: none.
  void digest_passes(std::int64_t tokens);
  /// For each token of the passes that were digested: a number for each device.
  [[nodiscard]] std::vector<std::vector<std::uint64_t>> take_digests();
  /// Keeps the values of a tensor, see BackendDevice::keep().
  void keep(const char* tensor, std::vector<float>* to);

  /// Bytes of weights, and of slots for experts, that place() will fill.
  [[nodiscard]] Bytes weights_to_place() const;
  /// Is called with the bytes read so far, over all devices. Returning false cancels.
  using Progress = std::function<bool(Bytes done)>;
  /// Reads the weights of all devices, through a buffer from `host_pool`. Returns the bytes read. Errors:
  /// those of GpuDevice::place().
  [[nodiscard]] Result<Bytes> place(memory::Pool& host_pool, const Progress& progress);
  /// Lets the devices send the host's weights. Errors: kBudgetExceeded.
  [[nodiscard]] Status connect();
  /// Ends that. Call it before the host's weights lose their places.
  void disconnect();
  /// Gives back what contexts had on the devices. Requires: no context lives.
  void forget_buffers();
  /// Gives back everything on the devices, and the model. Requires: no context lives.
  void displace();

  /// Whether some driver tells how much this process holds, on a device in use. Requires: drivers are asked
  /// (OpenOptions::held_on_device).
  [[nodiscard]] bool drivers_tell() const;
  /// Checks that the devices in use have free what their drivers may still take. Requires: drivers are asked,
  /// and all is placed and connected. Errors: kBudgetExceeded.
  [[nodiscard]] Status check_room() const;
  /// Whether a driver was measured.
  [[nodiscard]] bool drivers_are_measured() const;
  /// Measures whether the drivers take the bytes that were left for them; `notes` gets what is not known.
  /// Requires: drivers are asked. Errors: kInfeasible when a driver alone takes more than the device's
  /// budget.
  [[nodiscard]] Result<bool> measure_drivers(std::vector<std::string>& notes);
  /// Keeps the measured bytes for later starts.
  void keep_driver_figures() const;

  /// The budgets by the device's name, as in BudgetChange::vram.
  using Budgets = std::vector<std::pair<std::string, Bytes>>;
  [[nodiscard]] Budgets budgets() const;
  /// Refuses budgets that are known to be too large or too small. Errors: kInvalidArgument for a device that
  /// is not used; kInfeasible.
  [[nodiscard]] Status check(const Budgets& budgets) const;
  /// Changes the budgets that are named. Requires: check() has accepted the names. Errors: kBudgetExceeded.
  [[nodiscard]] Status resize(const Budgets& budgets);

  /// Notes on the devices' shares: which are not used, and which compute large batches.
  [[nodiscard]] std::vector<std::string> notes_on_shares() const;
  /// Notes on devices that copy slowly.
  [[nodiscard]] std::vector<std::string> notes_on_copies() const;
  /// RAM that the devices take, beside the buffers.
  [[nodiscard]] Bytes host_bytes() const;
  [[nodiscard]] std::vector<DeviceUse> uses() const;
  /// What was read to be sent to the devices, and how long they waited for it.
  [[nodiscard]] tier::StreamStatistics statistics() const;
  /// The first error of a device since the last call.
  [[nodiscard]] std::optional<Error> take_error();

 private:
  const OpenOptions& options_;
  const model::ModelProfile& profile_;
  tier::HostDevice& host_;
  std::vector<BudgetedGpu> gpus_;  // must be destroyed after the model
  ModelPtr model_;
  std::vector<std::uint32_t> draft_passes_;
};

}  // namespace brimful::engine
