#include "tier/gpu/gpu_experts.h"

#include <fmt/format.h>
#include <ggml-impl.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tier/gpu/host_chain.h"

namespace brimful::tier {
namespace {

// Unit: steps of the group. It is the value of the host's cache: docs/adr/0008.
constexpr double kHalfLife = 64;
// The largest number of copies of admitted experts in flight. An expert has about three matrices.
constexpr std::size_t kCopies = 16;
// The largest number of tensors that the host makes for the nodes of a chain.
constexpr std::size_t kMostOfChain = 32;

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
      turns_back_ = turns_back_ || host.may_repack(info.type);
      slots_.push_back({index, tensor});
    }
    most = std::max(most, experts);
    parts = std::max(parts, group.parts.size());
    groups_.push_back(std::move(group));
  }
  numbered_ = ggml_new_tensor_1d(context, GGML_TYPE_I32, plan::kMostTokensOfSlots * most);
  ggml_set_name(numbered_, "experts by slot");
  products_.reset(
      ggml_init({(kMostOfChain + parts + 2) * ggml_tensor_overhead() + ggml_graph_overhead_custom(64, false),
                 nullptr, true}));
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

Status GpuExperts::filled() {
  for (Group& group : groups_) {
    for (std::uint32_t slot = 0; slot < group.slots.slots(); ++slot)
      BRIMFUL_CHECK(group.slots.claim(slot) == slot);
  }
  copies_.emplace(device_, kCopies);
  if (!turns_back_) return {};
  BRIMFUL_TRY(turned_, memory::Region::reserve(Bytes{kTurned * kTurnedBytes}));
  BRIMFUL_TRY_VOID(turned_.commit());
  pinned_turned_ = PinnedMemory(device_, {turned_.data(), turned_.size().value});
  return {};
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
    if (node.op == GGML_OP_ADD_ID && recorded_biases_.insert(node.src[1]).second)
      bias_bytes_ += Bytes{ggml_nbytes(node.src[1])};
    if (!takes(node)) continue;
    if (node.src[2] != ids) results = {};
    ids = node.src[2];
    const auto choices = static_cast<std::uint64_t>(ggml_nelements(ids));
    results += Bytes{2 * ggml_nbytes(&node)};  // what lies between products has rows of the same length
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
  BRIMFUL_TRY_VOID(fill_slots(group, sent, copies_->usable()));
  if (!sent.empty()) finish_copies();
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
  return fill_slots(group, admitted, copies_->usable());
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
  copies_in_flight_ = turned_in_flight_ = 0;
}

/// Copies bytes to slots. `queued`: they stay where they are until finish_copies(), so the copy goes on.
/// Otherwise it has ended when the call returns.
void GpuExperts::copy(ggml_tensor* slots, std::span<const std::byte> bytes, std::size_t offset, bool queued) {
  if (!queued) {
    ggml_backend_tensor_set(slots, bytes.data(), offset, bytes.size());
    return;
  }
  if (copies_in_flight_ == kCopies) finish_copies();
  copies_->copy(copies_in_flight_++, slots, bytes.data(), offset, bytes.size());
}

/// Copies the rows of an expert to its place in the slots, `slot` bytes behind their first byte, as they are
/// in the file.
Status GpuExperts::turn_back(const ExpertCache::Stretch& rows, std::size_t slot, bool queued) {
  for (std::size_t done = 0; done < rows.data.size();) {
    if (turned_in_flight_ == kTurned || copies_in_flight_ == kCopies) finish_copies();
    std::byte* const place = turned_.data() + turned_in_flight_ * kTurnedBytes;
    const std::size_t size = std::min(kTurnedBytes, rows.data.size() - done);
    BRIMFUL_TRY_VOID(host_.turn_back(rows.tensor, rows.data.data(), done, size, place));
    copy(slots_of(rows.tensor), {place, size}, slot + done, queued);
    if (queued) ++turned_in_flight_;
    done += size;
  }
  return {};
}

/// Brings `experts` to the slots that were claimed for them. Where that fails, the slots are emptied.
/// `queued`: the copies may go on when the call returns, until finish_copies().
Status GpuExperts::fill_slots(Group& group, const std::vector<std::uint32_t>& experts, bool queued) {
  if (experts.empty()) return {};
  const bool stay = host_.keeps_experts(group.tensors.front(), experts.size());
  const auto take = [&](const ExpertCache::Stretch& rows) -> Status {
    const std::uint64_t expert = plan::expert_bytes(weights_.profile().tensors[rows.tensor]).value;
    const std::size_t slot = *group.slots.slot_of(rows.expert) * expert + rows.offset;
    statistics_.read += Bytes{rows.data.size()};
    if (rows.rearranged && host_.table().repacked(rows.tensor)) return turn_back(rows, slot, queued);
    copy(slots_of(rows.tensor), rows.data, slot, queued);
    if (queued && !stay) finish_copies();
    return {};
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
  send_rows(queue, node, known()->values);
  return {};
}

/// Queues the copy of the missing rows to a product's result on the device.
void GpuExperts::send_rows(ggml_backend_t queue, ggml_tensor* node, std::span<const float> rows) {
  // Rows that are neighbours on the host and on the device are copied together.
  const std::size_t row = static_cast<std::size_t>(node->ne[0]) * sizeof(float);
  const auto place = [&](const Choice& choice) {
    return static_cast<std::size_t>(choice.rank) * node->nb[1] +
           static_cast<std::size_t>(choice.token) * node->nb[2];
  };
  const auto* values = reinterpret_cast<const std::byte*>(rows.data());
  for (std::size_t i = 0; i < missing_.size();) {
    std::size_t count = 1;
    while (i + count < missing_.size() && place(missing_[i + count]) == place(missing_[i]) + count * row)
      ++count;
    ggml_backend_tensor_set_async(queue, node, values + i * row, place(missing_[i]), count * row);
    i += count;
  }
}

/// Reads the input of products from the device: one row for each missing choice.
void GpuExperts::read_input(const ggml_tensor& input) {
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
}

/// The host's copy of the biases of a layer's experts.
std::span<const float> GpuExperts::bias_of(const ggml_tensor& bias) {
  std::vector<float>& values = biases_[&bias];
  if (values.empty()) {
    values.resize(static_cast<std::size_t>(ggml_nelements(&bias)));
    ggml_backend_tensor_get(&bias, values.data(), 0, ggml_nbytes(&bias));
  }
  return values;
}

Status GpuExperts::multiply_chain(ggml_backend_t queue, std::span<const ggml_tensor* const> chain,
                                  std::span<const DeviceProduct> products) {
  const ggml_tensor& input = *products.front().node->src[1];
  const auto count = static_cast<std::int64_t>(missing_.size());
  ggml_context* const context = products_.get();
  ggml_reset(context);
  const auto make = [&](std::int64_t length) {
    return ggml_new_tensor_3d(context, GGML_TYPE_F32, length, 1, count);
  };
  const auto keep = [&](ggml_tensor* tensor, const ggml_tensor* node) {
    Rows& rows = results_.emplace_back(
        Rows{node, std::vector<float>(static_cast<std::size_t>(ggml_nelements(tensor)))});
    tensor->data = rows.values.data();
    return std::span(rows.values);
  };
  ggml_tensor* const rows = make(input.ne[0]);
  ggml_tensor* const ids = ggml_new_tensor_2d(context, GGML_TYPE_I32, 1, count);
  rows->data = input_.data();
  ids->data = experts_.data();
  ggml_cgraph* const graph = ggml_new_graph_custom(context, 64, false);
  std::map<const ggml_tensor*, ggml_tensor*> made;
  const auto operand = [&](const ggml_tensor* of) { return made.at(shown_by(of)); };
  std::span<const float> last;
  for (const ggml_tensor* const node : chain) {
    const auto product = std::ranges::find(products, node, &DeviceProduct::node);
    ggml_tensor* result = nullptr;
    if (product != products.end()) {
      const auto from = made.find(shown_by(node->src[1]));
      result = ggml_mul_mat_id(context, product->weight, from != made.end() ? from->second : rows, ids);
    } else if (node->op == GGML_OP_ADD_ID) {
      ggml_tensor* const bias = make(node->ne[0]);
      const std::span<const float> all = bias_of(*node->src[1]);
      const std::span<float> picked = keep(bias, nullptr);
      const auto length = static_cast<std::size_t>(node->ne[0]);
      for (std::size_t i = 0; i < experts_.size(); ++i)
        std::ranges::copy(all.subspan(static_cast<std::size_t>(experts_[i]) * length, length),
                          picked.begin() + static_cast<std::ptrdiff_t>(i * length));
      result = ggml_add(context, operand(node->src[0]), bias);
    } else {
      result = make(node->ne[0]);
      result->op = node->op;
      for (int i = 0; i < GGML_MAX_SRC && node->src[i] != nullptr; ++i)
        result->src[i] = operand(node->src[i]);
    }
    if (result->op == node->op) std::memcpy(result->op_params, node->op_params, sizeof result->op_params);
    last = keep(result, node);
    made[node] = result;
    ggml_build_forward_expand(graph, result);
  }
  const Status status = host_.multiply(*graph, again_);
  again_ = true;
  if (status) send_rows(queue, products.back().node, last);
  return status;
}

/// Computes the missing rows of all `products`, which have the same input, on the host. Each missing choice
/// is a token of its own: it has one row of the input, and one row of each result.
Status GpuExperts::compute_together(std::span<const DeviceProduct> products) {
  const ggml_tensor& input = *products.front().node->src[1];
  read_input(input);
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
