#pragma once

#include <ggml-cpp.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "memory/region.h"
#include "plan/expert_groups.h"
#include "tier/experts/expert_slots.h"
#include "tier/gpu/copy_queue.h"
#include "tier/host/host_device.h"
#include "tier/weights/pinned_memory.h"

namespace brimful::tier {

/// A MUL_MAT_ID node of a step. `weight` is its src[0] as libllama made it.
struct DeviceProduct {
  ggml_tensor* node = nullptr;
  ggml_tensor* weight = nullptr;
};

/// What steps are taken to lack. It serves to compute every shape of a step once.
enum class Lack {
  kAsItIs,
  /// Nothing: an expert without a slot gets wrong results.
  kNothing,
  /// One choice of an expert at least, so that the host multiplies.
  kSomething,
};

/// Some of the experts, in slots on a device: a cache in front of the host's tiers. What a step lacks, the
/// host multiplies, or it is sent to the device first. Which of the two happens depends only on the steps
/// before, never on time.
/// Where the host multiplies, the device and the host may give other last bits, so that the experts in the
/// slots have a part in every token. They change only after each kStepsOfSlots steps of a group, and then by
/// the steps that count. A pass that checks a draft (defer()) does not count by itself: settle() counts a
/// step for each of its tokens that stays in the text. So the slots hold the same experts for each token of a
/// text, with drafts and without. Threading: one thread at a time: the one that computes on the device.
class GpuExperts {
 public:
  /// Makes the tensors of the slots in `context`, without memory. `host` and `weights` must outlive this
  /// object. With `send`, everything that a step lacks is sent, where the slots hold all its experts.
  /// `device` is the inner device.
  GpuExperts(const WeightBufferType& weights, HostDevice& host, std::span<const plan::CachedExperts> groups,
             ggml_context* context, bool send, ggml_backend_dev_t device);

  /// The slots for one weight of a group. At first they hold the first experts of that weight, as many as
  /// there are slots.
  struct Slots {
    /// Index into ModelProfile::tensors.
    std::uint32_t weight = 0;
    /// [row length, rows, slots].
    ggml_tensor* tensor = nullptr;
  };
  [[nodiscard]] const std::vector<Slots>& slots() const { return slots_; }
  /// Bytes that the slots take on the device, as buffers of `type` align and pad them.
  [[nodiscard]] Bytes bytes(ggml_backend_buffer_type_t type) const;
  /// Tells that the slots hold the first experts. Errors: kBudgetExceeded.
  [[nodiscard]] Status filled();

  /// Sets what the next steps are taken to lack.
  void pretend(Lack lack) { lack_ = lack; }

  /// Whether `op` is computed with slots: a product with experts that have slots, for at most
  /// plan::kMostTokensOfSlots tokens. A token may not pick more experts than there are slots: kernels need
  /// the slots of a token to differ. Where everything that a step lacks is sent, its tokens may not pick more
  /// experts than there are slots.
  [[nodiscard]] bool takes(const ggml_tensor& op) const;
  /// The slots of a weight, [row length, rows, slots]. Null if it has none.
  [[nodiscard]] ggml_tensor* slots_of(std::uint32_t weight) const;
  /// The group of a weight. Requires: the weight has slots.
  [[nodiscard]] std::uint32_t group_of(std::uint32_t weight) const { return place_[weight]->group; }
  /// The ids of a step of `group` as numbers of slots, on the device, in the shape of `ids`. It is the same
  /// tensor each time, because a backend that records graphs (CUDA's) compares addresses.
  [[nodiscard]] ggml_tensor* numbered_as(std::uint32_t group, const ggml_tensor& ids) const;

  /// The experts in the slots change after so many steps of a group.
  static constexpr std::uint64_t kStepsOfSlots = 32;
  /// While this is on, steps do not count until settle(). Where all that a step lacks is sent, steps always
  /// count, because the device computes the same wherever an expert was.
  void defer(bool on) { defers_ = on && !send_; }
  /// Counts a step for each of the first `tokens` tokens of the newest step that was deferred, in all groups.
  /// Blocks until the experts that come to slots by that are there. Errors: those of the host's reads.
  [[nodiscard]] Status settle(std::size_t tokens);
  /// The largest number of tokens of a pass that is deferred: it may not go on where the slots change, and
  /// must have room for all its experts where these are sent. `used`: the number of experts of a token.
  [[nodiscard]] std::size_t room_for_deferred() const;
  [[nodiscard]] std::int64_t most_tokens_of_step(std::uint32_t used) const;

  /// Notes the host memory that the steps of `graph` take. host_bytes() has the largest so far.
  void record(const ggml_cgraph& graph);
  /// Host memory for the steps of all recorded graphs.
  [[nodiscard]] Bytes host_bytes() const {
    return staging_ + bias_bytes_ + kLists + (turns_back_ ? Bytes{kTurned * kTurnedBytes} : Bytes{});
  }

  /// Begins a step that picks `ids`, which the backend `queue` of the device has computed or is computing.
  /// Blocks until it has. Decides which of the missing experts get a slot: with `send` for this step, and
  /// otherwise in admit(). Errors: those of the host's reads; kInternal for an expert that does not exist.
  [[nodiscard]] Status begin(ggml_backend_t queue, std::uint32_t group, const ggml_tensor& ids);
  /// Whether the step has experts without a slot, so that multiply() must be called.
  [[nodiscard]] bool lacks() const { return !missing_.empty(); }
  /// Computes the rows of `products[which]` that the device lacks, and queues their copy to its result on the
  /// device, behind the work that `queue` has. The first product with some input computes the rows of all
  /// later products with the same input, too. Errors: those of the host's tier. Requires: the input has been
  /// computed.
  [[nodiscard]] Status multiply(ggml_backend_t queue, std::span<const DeviceProduct> products,
                                std::size_t which);

  /// Reads the rows of `input` that the device lacks, for multiply_chain(). Call it before anything of the
  /// step is queued, because the device may use the memory of the input again. Requires: the input has been
  /// computed.
  void read_input(const ggml_tensor& input);
  /// Computes all of find_host_chain(), of the step's `nodes` and `products`, for the rows that the device
  /// lacks, and queues the copy of the last product's rows to its result, behind the work that `queue` has.
  /// Errors: those of the host's tier. Requires: read_input(); the operands of ADD_ID nodes lie on the
  /// device.
  [[nodiscard]] Status multiply_chain(ggml_backend_t queue, std::span<const ggml_tensor* const> chain,
                                      std::span<const DeviceProduct> products);

  /// Where the slots of the group change after this step, begins to copy experts to them. Call it when the
  /// step is queued, so that the device need not wait for the copies. Errors: those of the host's reads.
  [[nodiscard]] Status admit();
  /// Blocks until the copies of admit() have ended. Until then, the host's experts must keep their places.
  void finish_copies();

  /// Statistics of the steps on this device. `read` counts the bytes that were sent.
  [[nodiscard]] const ExpertStatistics& statistics() const { return statistics_; }

 private:
  /// Memory for the lists of a step, and for ggml's own of a product. An estimate.
  static constexpr Bytes kLists{64 << 10};
  static constexpr std::size_t kTurned = 4;
  static constexpr std::size_t kTurnedBytes = 1 << 20;
  struct Part {
    std::uint32_t group = 0;
    std::uint32_t part = 0;
  };
  struct Group {
    std::vector<std::uint32_t> tensors;
    std::vector<ggml_tensor*> parts;
    ExpertSlots slots;
    std::uint32_t experts = 0;
    Bytes expert;
    // The steps that count.
    std::uint64_t steps = 0;
    // Experts that were missing since the slots changed.
    std::vector<std::uint32_t> candidates = {};
    // The experts of each token of the newest step that was deferred.
    std::vector<std::vector<std::uint32_t>> deferred = {};
    std::unique_ptr<ggml_tensor> numbered = std::make_unique<ggml_tensor>();
  };
  // One expert that a token picks.
  struct Choice {
    // The position among the experts of its token.
    std::int64_t rank = 0;
    std::int64_t token = 0;
    std::int32_t expert = 0;
  };

  [[nodiscard]] Status read_choices(const Group& group, const ggml_tensor& ids);
  [[nodiscard]] Status fill_slots(Group& group, const std::vector<std::uint32_t>& experts, bool queued);
  void copy(ggml_tensor* slots, std::span<const std::byte> bytes, std::size_t offset, bool queued);
  [[nodiscard]] Status turn_back(const ExpertCache::Stretch& rows, std::size_t slot, bool queued);
  static void count_step(Group& group, const std::vector<std::uint32_t>& used);
  [[nodiscard]] Status change_slots(Group& group);
  void number_choices(const Group& group);
  void pretend();
  [[nodiscard]] Status compute_together(std::span<const DeviceProduct> products);
  void send_rows(ggml_backend_t queue, ggml_tensor* node, std::span<const float> values);
  std::span<const float> bias_of(const ggml_tensor& bias);

  const WeightBufferType& weights_;
  HostDevice& host_;
  const bool send_;
  // Indexed by tensor.
  std::vector<std::optional<Part>> place_;
  std::vector<Slots> slots_;
  std::vector<Group> groups_;
  ggml_tensor* numbered_ = nullptr;
  ggml_context_ptr products_;
  Bytes staging_;
  // The biases of experts, by their tensor on the device. The host keeps copies.
  std::map<const ggml_tensor*, std::vector<float>> biases_;
  std::set<const ggml_tensor*> recorded_biases_;
  Bytes bias_bytes_;

  // Of each token, one after the other, choices_per_token_ each.
  std::vector<Choice> choices_;
  std::int64_t choices_per_token_ = 0;
  std::vector<Choice> missing_;
  // The group of the step.
  std::uint32_t group_ = 0;
  bool defers_ = false;
  ggml_backend_dev_t const device_;
  // Whether the host may keep experts in another layout than the file's. They are then turned back to
  // kTurned places in turned_, each of kTurnedBytes, and copied from there.
  bool turns_back_ = false;
  memory::Region turned_;
  PinnedMemory pinned_turned_;
  // Copies in flight from turned_.
  std::size_t turned_in_flight_ = 0;
  // Copies of experts, once the slots are filled. Not usable where the device cannot copy while it
  // computes.
  std::optional<CopyQueue> copies_;
  std::size_t copies_in_flight_ = 0;
  Lack lack_ = Lack::kAsItIs;
  // Whether the host knows the choice of this step already.
  bool again_ = false;
  std::vector<std::byte> raw_;
  std::vector<float> input_;
  // The slots of the choices of the step.
  std::vector<std::int32_t> ids_;
  // The experts that the host multiplies.
  std::vector<std::int32_t> experts_;
  // Rows of a result that are being copied to the device, until the next step.
  struct Rows {
    const ggml_tensor* node = nullptr;
    std::vector<float> values;
  };
  std::vector<Rows> results_;
  ExpertStatistics statistics_;
};

}  // namespace brimful::tier
