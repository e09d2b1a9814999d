#pragma once

#include <ggml-cpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "plan/expert_groups.h"
#include "tier/experts/expert_slots.h"
#include "tier/host/host_device.h"

namespace brimful::tier {

/// A MUL_MAT_ID of a step, as libllama made it.
struct DeviceProduct {
  ggml_tensor* node = nullptr;
  ggml_tensor* weight = nullptr;
};

/// Some of the experts, in slots on a device: a cache in front of the host's tiers. What a step lacks, the
/// host multiplies, or it is sent first. Which of the two depends on the steps before, never on time.
/// Threading: one thread at a time; the device is idle meanwhile.
class GpuExperts {
 public:
  /// Makes the slots' tensors in `context`, without memory. `host` outlives this. `send`: all that a step
  /// lacks is sent, where its experts fit the slots.
  GpuExperts(const WeightBufferType& weights, HostDevice& host, std::span<const plan::CachedExperts> groups,
             ggml_context* context, bool send);

  /// What is in a group's slots at first: as many experts of each part, from the first on.
  struct Slots {
    std::uint32_t weight = 0;
    ggml_tensor* tensor = nullptr;  ///< [row length, rows, slots]
  };
  [[nodiscard]] const std::vector<Slots>& slots() const { return slots_; }
  /// In the device's buffers, as a type of buffer aligns and pads them.
  [[nodiscard]] Bytes bytes(ggml_backend_buffer_type_t type) const;
  /// The slots have been filled.
  void filled();

  /// Whether `op` is computed with slots: of those weights, and for few tokens.
  [[nodiscard]] bool takes(const ggml_tensor& op) const;
  [[nodiscard]] ggml_tensor* slots_of(std::uint32_t weight) const;
  [[nodiscard]] std::uint32_t group_of(std::uint32_t weight) const { return place_[weight]->group; }
  /// The ids of a step of `group` by slots, on the device, in the shape of `ids`. The same tensor each time:
  /// a back end that records graphs (CUDA's) compares addresses.
  [[nodiscard]] ggml_tensor* numbered_as(std::uint32_t group, const ggml_tensor& ids) const;

  /// Host memory that the steps of `graph` take, the largest one so far.
  void record(const ggml_cgraph& graph);
  [[nodiscard]] Bytes host_bytes() const { return staging_ + kLists; }

  /// A step begins that picks `ids`, which `queue` of the device has computed or is computing. Errors: those
  /// of the host's reads; kInternal for an expert that does not exist.
  [[nodiscard]] Status begin(ggml_backend_t queue, std::uint32_t group, const ggml_tensor& ids);
  /// Whether there is anything to multiply() in this step.
  [[nodiscard]] bool lacks() const { return !missing_.empty(); }
  /// Computes the rows of `products[which]` that the device lacks, and puts them into its result there,
  /// behind what `queue` has to do. The first of those with the same input does it for all of them. Errors:
  /// those of the host's tier. Requires: the input has been computed.
  [[nodiscard]] Status multiply(ggml_backend_t queue, std::span<const DeviceProduct> products,
                                std::size_t which);

  /// Of steps on this device: `read` is what was sent.
  [[nodiscard]] const ExpertStatistics& statistics() const { return statistics_; }

 private:
  static constexpr Bytes kLists{64 << 10};  // of a step, and ggml's for a product. Estimated.
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
    std::unique_ptr<ggml_tensor> numbered = std::make_unique<ggml_tensor>();
  };
  struct Choice {
    std::int64_t rank = 0;  // among its token's
    std::int64_t token = 0;
    std::int32_t expert = 0;
  };

  [[nodiscard]] Status read_choices(const Group& group, const ggml_tensor& ids);
  [[nodiscard]] Status send(Group& group, const std::vector<std::uint32_t>& experts);
  void number_choices(const Group& group);
  [[nodiscard]] Status compute_together(std::span<const DeviceProduct> products);

  const WeightBufferType& weights_;
  HostDevice& host_;
  const bool send_;
  std::vector<std::optional<Part>> place_;  // by tensor
  std::vector<Slots> slots_;
  std::vector<Group> groups_;
  ggml_tensor* numbered_ = nullptr;
  ggml_context_ptr products_;
  Bytes staging_;

  std::vector<Choice> choices_;
  std::vector<Choice> missing_;
  bool again_ = false;  // the host knows the choice
  std::vector<std::byte> raw_;
  std::vector<float> input_;
  std::vector<std::int32_t> ids_;      // of the step's choices: slots
  std::vector<std::int32_t> experts_;  // of what is multiplied
  struct Rows {                        // on their way to the device until the next step
    const ggml_tensor* node = nullptr;
    std::vector<float> values;
  };
  std::vector<Rows> results_;
  ExpertStatistics statistics_;
};

}  // namespace brimful::tier
