#include "tier/gpu/gpu_experts.h"

#include <fmt/format.h>
#include <ggml-impl.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace brimful::tier {
namespace {

// Unit: steps of the group. It is the value of the host's cache: docs/adr/0008.
constexpr double kHalfLife = 64;
// The largest number of copies of admitted experts in flight. An expert has about three matrices.
constexpr std::size_t kCopies = 16;

/// Blocks until the bytes are there.
void copy_now(ggml_tensor* slots, std::span<const std::byte> bytes, std::size_t offset) {
  ggml_backend_tensor_set(slots, bytes.data(), offset, bytes.size());
}

}  // namespace

GpuExperts::GpuExperts(const WeightBufferType& weights, HostDevice& host,
                       std::span<const plan::CachedExperts> groups, ggml_context* context, bool send,
                       ggml_backend_dev_t device)
    : weights_(weights), host_(host), send_(send), place_(weights.profile().tensors.size()), device_(device) {
  std::uint32_t most = 0;
  std::size_t parts = 0;
  for (const plan::CachedExperts& cached : groups) {
    const auto experts =
        static_cast<std::uint32_t>(weights.profile().tensors[cached.tensors.front()].shape[2]);
    Group group{.tensors = cached.tensors,
                .parts = {},
                .slots = ExpertSlots(experts, cached.slots, kHalfLife),
                .experts = experts,
                .expert = {}};
    for (const std::uint32_t index : cached.tensors) {
      const model::TensorInfo& info = weights.profile().tensors[index];
      ggml_tensor* const tensor =
          ggml_new_tensor_3d(context, info.type, info.shape[0], info.shape[1], cached.slots);
      ggml_set_name(tensor, info.name.c_str());
      place_[index] = {static_cast<std::uint32_t>(groups_.size()),
                       static_cast<std::uint32_t>(group.parts.size())};
      group.parts.push_back(tensor);
      group.expert += plan::expert_bytes(info);
      slots_.push_back({index, tensor});
    }
    most = std::max(most, experts);
    parts = std::max(parts, group.parts.size());
    groups_.push_back(std::move(group));
  }
  numbered_ = ggml_new_tensor_1d(context, GGML_TYPE_I32, plan::kMostTokensOfSlots * most);
  ggml_set_name(numbered_, "experts by slot");
  products_.reset(ggml_init(
      {(parts + 2) * ggml_tensor_overhead() + ggml_graph_overhead_custom(64, false), nullptr, true}));
}

Bytes GpuExperts::bytes(ggml_backend_buffer_type_t type) const {
  const std::size_t alignment = ggml_backend_buft_get_alignment(type);
  const auto padded = [&](const ggml_tensor* tensor) {
    return Bytes{align_up(ggml_backend_buft_get_alloc_size(type, tensor), alignment)};
  };
  Bytes total = padded(numbered_);
  for (const Slots& slots : slots_) total += padded(slots.tensor);
  return total;
}

void GpuExperts::filled() {
  for (Group& group : groups_) {
    for (std::uint32_t slot = 0; slot < group.slots.slots(); ++slot)
      BRIMFUL_CHECK(group.slots.claim(slot) == slot);
  }
  copies_.emplace(device_, kCopies);
}

ggml_tensor* GpuExperts::slots_of(std::uint32_t weight) const {
  return place_[weight] ? groups_[place_[weight]->group].parts[place_[weight]->part] : nullptr;
}

ggml_tensor* GpuExperts::numbered_as(std::uint32_t group, const ggml_tensor& ids) const {
  ggml_tensor* const out = groups_[group].numbered.get();
  *out = ids;
  out->data = numbered_->data;
  out->buffer = numbered_->buffer;
  out->view_src = nullptr;
  out->view_offs = 0;
  return out;
}

bool GpuExperts::takes(const ggml_tensor& op) const {
  if (op.op != GGML_OP_MUL_MAT_ID || op.src[0]->view_src != nullptr) return false;
  const auto weight = weights_.weight_of(op.src[0]);
  if (!weight || !place_[*weight] || weights_.weight_of(op.src[1]) || op.src[1]->type != GGML_TYPE_F32)
    return false;
  const std::int64_t tokens = op.src[2]->ne[1];
  const std::int64_t slots = groups_[place_[*weight]->group].slots.slots();
  const std::int64_t of_token = op.src[2]->ne[0];
  return tokens <= plan::kMostTokensOfSlots && of_token <= slots && (!send_ || tokens * of_token <= slots);
}

void GpuExperts::record(const ggml_cgraph& graph) {
  Bytes results;
  const ggml_tensor* ids = nullptr;
  for (int n = 0; n < graph.n_nodes; ++n) {
    const ggml_tensor& node = *graph.nodes[n];
    if (!takes(node)) continue;
    if (node.src[2] != ids) results = {};
    ids = node.src[2];
    const auto choices = static_cast<std::uint64_t>(ggml_nelements(ids));
    results += Bytes{ggml_nbytes(&node)};
    const Bytes input{std::max(ggml_nbytes(node.src[1]), ggml_nbytes(ids)) +
                      choices * static_cast<std::uint64_t>(node.src[1]->ne[0]) * sizeof(float)};
    staging_ = std::max(staging_, input + results + Bytes{choices * 4 * sizeof(Choice)});
  }
}

Status GpuExperts::read_choices(const Group& group, const ggml_tensor& ids) {
  raw_.resize(ggml_nbytes(&ids));
  ggml_backend_tensor_get(&ids, raw_.data(), 0, raw_.size());
  choices_per_token_ = ids.ne[0];
  choices_.clear();
  for (std::int64_t token = 0; token < ids.ne[1]; ++token) {
    for (std::int64_t rank = 0; rank < ids.ne[0]; ++rank) {
      Choice choice{rank, token, 0};
      std::memcpy(&choice.expert,
                  raw_.data() + static_cast<std::size_t>(rank) * ids.nb[0] +
                      static_cast<std::size_t>(token) * ids.nb[1],
                  sizeof choice.expert);
      if (static_cast<std::uint32_t>(choice.expert) >= group.experts) {
        return fail(ErrorCode::kInternal,
                    fmt::format("the router chose expert {} of {}", choice.expert, group.experts));
      }
      choices_.push_back(choice);
    }
  }
  return {};
}

Status GpuExperts::begin(ggml_backend_t queue, std::uint32_t number, const ggml_tensor& ids) {
  Group& group = groups_[number];
  group_ = number;
  again_ = false;
  ggml_backend_synchronize(queue);  // from here on, nothing of the step before is in flight
  results_.clear();
  BRIMFUL_TRY_VOID(read_choices(group, ids));
  std::vector<std::uint32_t> used;
  used.reserve(choices_.size());
  for (const Choice& choice : choices_) used.push_back(static_cast<std::uint32_t>(choice.expert));
  if (defers_) {
    group.deferred.clear();
    for (auto token = used.begin(); token != used.end(); token += choices_per_token_) {
      group.deferred.emplace_back(token, token + choices_per_token_);
      std::ranges::sort(group.deferred.back());
    }
  }
  std::ranges::sort(used);
  used.erase(std::ranges::unique(used).begin(), used.end());
  if (!defers_) count_step(group, used);
  statistics_.used += used.size();

  std::vector<std::uint32_t> sent;
  for (const std::uint32_t expert : used) {
    if (group.slots.slot_of(expert)) {
      ++statistics_.hits;
      continue;
    }
    statistics_.missed += group.expert;
    if (send_ && group.slots.claim(expert)) sent.push_back(expert);
  }
  BRIMFUL_TRY_VOID(fill_slots(group, sent, copy_now));
  number_choices(group);
  pretend();
  ggml_backend_tensor_set_async(queue, numbered_, ids_.data(), 0, ids_.size() * sizeof(std::int32_t));
  return {};
}

void GpuExperts::count_step(Group& group, const std::vector<std::uint32_t>& used) {
  group.slots.begin_step(used);
  ++group.steps;
  for (const std::uint32_t expert : used) {
    if (group.slots.slot_of(expert)) continue;
    const bool known = std::ranges::find(group.candidates, expert) != group.candidates.end();
    if (!known) group.candidates.push_back(expert);
  }
}

Status GpuExperts::admit() {
  Group& group = groups_[group_];
  return defers_ || send_ || group.steps % kStepsOfSlots != 0 ? Status{} : change_slots(group);
}

/// Brings the candidates to slots that are worth it.
Status GpuExperts::change_slots(Group& group) {
  std::vector<std::uint32_t> admitted = std::exchange(group.candidates, {});
  std::vector<std::uint32_t> claimed;
  std::erase_if(admitted, [&](std::uint32_t expert) {
    const auto slot = group.slots.outweighs(expert) ? group.slots.claim(expert) : std::nullopt;
    if (!slot) return true;
    group.slots.hold(*slot, true);  // the next candidate must not get it
    claimed.push_back(*slot);
    return false;
  });
  for (const std::uint32_t slot : claimed) group.slots.hold(slot, false);
  if (admitted.empty()) return {};
  if (!copies_->usable()) return fill_slots(group, admitted, copy_now);
  const bool stay = host_.keeps_experts(group.tensors.front(), admitted.size());
  return fill_slots(group, admitted,
                    [&](ggml_tensor* slots, std::span<const std::byte> bytes, std::size_t offset) {
                      if (copies_in_flight_ == kCopies) finish_copies();
                      copies_->copy(copies_in_flight_++, slots, bytes.data(), offset, bytes.size());
                      if (!stay) finish_copies();
                    });
}

Status GpuExperts::settle(std::size_t tokens) {
  for (Group& group : groups_) {
    const auto deferred = std::exchange(group.deferred, {});
    for (const std::vector<std::uint32_t>& used :
         std::span(deferred).first(std::min(tokens, deferred.size()))) {
      count_step(group, used);
      if (group.steps % kStepsOfSlots == 0) BRIMFUL_TRY_VOID(change_slots(group));
    }
    finish_copies();
  }
  return {};
}

std::size_t GpuExperts::room_for_deferred() const {
  std::uint64_t room = plan::kMostTokensOfSlots;
  for (const Group& group : groups_) room = std::min(room, kStepsOfSlots - group.steps % kStepsOfSlots);
  return send_ ? plan::kMostTokensOfSlots : room;
}

std::int64_t GpuExperts::most_tokens_of_step(std::uint32_t used) const {
  std::int64_t most = plan::kMostTokensOfSlots;
  for (const Group& group : groups_)
    if (send_) most = std::min<std::int64_t>(most, group.slots.slots() / std::max(used, 1U));
  return most;
}

void GpuExperts::finish_copies() {
  for (std::size_t i = 0; i < copies_in_flight_; ++i) copies_->wait(i);
  copies_in_flight_ = 0;
}

/// Brings `experts` to the slots that were claimed for them. Where that fails, the slots are emptied.
Status GpuExperts::fill_slots(Group& group, const std::vector<std::uint32_t>& experts, const Copy& copy) {
  if (experts.empty()) return {};
  const auto take = [&](std::uint32_t tensor, std::uint32_t expert, std::uint64_t offset,
                        std::span<const std::byte> bytes) {
    const std::size_t slot =
        *group.slots.slot_of(expert) * plan::expert_bytes(weights_.profile().tensors[tensor]).value;
    copy(slots_of(tensor), bytes, slot + offset);
    statistics_.read += Bytes{bytes.size()};
  };
  const Status status = host_.bring(group.tensors, experts, take);
  if (!status) {
    for (const std::uint32_t expert : experts) group.slots.empty(*group.slots.slot_of(expert));
  }
  return status;
}

/// Finds the slots of the step's choices, and the choices that have none. The rows of such a choice are
/// overwritten, so it may get any slot that its token does not have yet: kernels need the slots of a token to
/// differ from each other.
void GpuExperts::number_choices(const Group& group) {
  constexpr std::int32_t kNone = -1;
  missing_.clear();
  ids_.clear();
  for (const Choice& choice : choices_) {
    const auto slot = group.slots.slot_of(static_cast<std::uint32_t>(choice.expert));
    if (!slot) missing_.push_back(choice);
    ids_.push_back(slot ? static_cast<std::int32_t>(*slot) : kNone);
  }
  if (missing_.empty()) return;
  for (auto token = ids_.begin(); token != ids_.end();) {
    const auto end = token + choices_per_token_;
    std::int32_t free = 0;
    for (auto id = token; id != end; ++id) {
      if (*id != kNone) continue;
      while (std::find(token, end, free) != end) ++free;
      *id = free;
    }
    token = end;
  }
}

/// Changes what the step lacks to what the caller of pretend(Lack) wants.
void GpuExperts::pretend() {
  if (lack_ == Lack::kNothing) {
    missing_.clear();
    if (!defers_) groups_[group_].candidates.clear();
  } else if (lack_ == Lack::kSomething && missing_.empty()) {
    missing_.push_back(choices_.front());
  }
}

Status GpuExperts::multiply(ggml_backend_t queue, std::span<const DeviceProduct> products,
                            std::size_t which) {
  ggml_tensor* const node = products[which].node;
  const auto known = [&] { return std::ranges::find(results_, node, &Rows::node); };
  if (known() == results_.end()) {
    std::vector<DeviceProduct> together;
    for (const DeviceProduct& product : products.subspan(which)) {
      if (product.node->src[1] == node->src[1]) together.push_back(product);
    }
    BRIMFUL_TRY_VOID(compute_together(together));
  }
  // Rows that are neighbours on the host and on the device are copied together.
  const std::size_t row = static_cast<std::size_t>(node->ne[0]) * sizeof(float);
  const auto place = [&](const Choice& choice) {
    return static_cast<std::size_t>(choice.rank) * node->nb[1] +
           static_cast<std::size_t>(choice.token) * node->nb[2];
  };
  const auto* values = reinterpret_cast<const std::byte*>(known()->values.data());
  for (std::size_t i = 0; i < missing_.size();) {
    std::size_t count = 1;
    while (i + count < missing_.size() && place(missing_[i + count]) == place(missing_[i]) + count * row)
      ++count;
    ggml_backend_tensor_set_async(queue, node, values + i * row, place(missing_[i]), count * row);
    i += count;
  }
  return {};
}

/// Computes the missing rows of all `products`, which have the same input, on the host. Each missing choice
/// is a token of its own: it has one row of the input, and one row of each result.
Status GpuExperts::compute_together(std::span<const DeviceProduct> products) {
  const ggml_tensor& input = *products.front().node->src[1];
  const auto length = static_cast<std::size_t>(input.ne[0]);
  raw_.resize(ggml_nbytes(&input));
  ggml_backend_tensor_get(&input, raw_.data(), 0, raw_.size());
  input_.resize(length * missing_.size());
  experts_.clear();
  for (const Choice& choice : missing_) {
    const std::byte* const from = raw_.data() +
                                  static_cast<std::size_t>(choice.rank % input.ne[1]) * input.nb[1] +
                                  static_cast<std::size_t>(choice.token) * input.nb[2];
    std::memcpy(input_.data() + experts_.size() * length, from, length * sizeof(float));
    experts_.push_back(choice.expert);
  }
  const auto count = static_cast<std::int64_t>(missing_.size());
  ggml_context* const context = products_.get();
  ggml_reset(context);
  ggml_tensor* const rows = ggml_new_tensor_3d(context, GGML_TYPE_F32, input.ne[0], 1, count);
  ggml_tensor* const ids = ggml_new_tensor_2d(context, GGML_TYPE_I32, 1, count);
  rows->data = input_.data();
  ids->data = experts_.data();
  ggml_cgraph* const graph = ggml_new_graph_custom(context, 64, false);
  for (const auto& [node, weight] : products) {
    ggml_tensor* const product = ggml_mul_mat_id(context, weight, rows, ids);
    std::memcpy(product->op_params, node->op_params, sizeof product->op_params);
    Rows& result =
        results_.emplace_back(Rows{node, std::vector<float>(static_cast<std::size_t>(node->ne[0] * count))});
    product->data = result.values.data();
    ggml_build_forward_expand(graph, product);
  }
  const Status status = host_.multiply(*graph, again_);
  again_ = true;
  return status;
}

}  // namespace brimful::tier
