#include "tier/gpu/gpu_device.h"

#include <fmt/format.h>
#include <ggml-backend-impl.h>
#include <ggml-impl.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "tier/gpu/gpu_part.h"
#include "tier/host/layer_names.h"

namespace brimful::tier {

std::string card_of(ggml_backend_dev_t device) {
  ggml_backend_dev_props props{};
  ggml_backend_dev_get_props(device, &props);
  return props.device_id != nullptr ? props.device_id : "";
}

std::vector<ggml_backend_dev_t> gpu_devices() {
  std::vector<ggml_backend_dev_t> out;
  for (std::size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    ggml_backend_dev_t const device = ggml_backend_dev_get(i);
    if (ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_GPU) out.push_back(device);
  }
  return one_for_each_card(out);
}

namespace {

/// Whether two backends describe a card with these words: one may add something in parentheses, as Mesa does
/// (`AMD Radeon RX 7600 (RADV NAVI33)`).
bool describe_one_card(std::string_view one, std::string_view other) {
  if (one.size() > other.size()) std::swap(one, other);
  return !one.empty() && other.starts_with(one) &&
         (one.size() == other.size() || other.substr(one.size()).starts_with(" ("));
}

bool describe_one_card(ggml_backend_dev_t one, ggml_backend_dev_t other) {
  return describe_one_card(ggml_backend_dev_description(one), ggml_backend_dev_description(other));
}

}  // namespace

std::vector<ggml_backend_dev_t> one_for_each_card(std::span<ggml_backend_dev_t const> all) {
  std::vector<ggml_backend_dev_t> out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    ggml_backend_reg_t const backend = ggml_backend_dev_backend_reg(all[i]);
    // How many devices before this one have its description, in each backend.
    std::map<ggml_backend_reg_t, std::size_t> before;
    for (ggml_backend_dev_t const other : all.first(i)) {
      if (describe_one_card(all[i], other)) ++before[ggml_backend_dev_backend_reg(other)];
    }
    const std::size_t of_this = before[backend];
    const bool known = std::ranges::any_of(
        before, [&](const auto& other) { return other.first != backend && other.second > of_this; });
    if (!known) out.push_back(all[i]);
  }
  return out;
}

bool is_same_card(ggml_backend_dev_t one, ggml_backend_dev_t other) {
  if (one == other) return true;
  if (ggml_backend_dev_backend_reg(one) == ggml_backend_dev_backend_reg(other)) return false;
  const std::string card = card_of(one);
  return !card.empty() && card == card_of(other);
}

/// The functions of a ggml buffer type that allocates the inner device's own buffers and counts them.
struct CountedBuffers {
  static GpuDevice& of(ggml_backend_buffer_type_t type) { return *static_cast<GpuDevice*>(type->context); }
  static const char* name(ggml_backend_buffer_type_t t) { return ggml_backend_buft_name(of(t).inner_type_); }
  static ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t t, size_t size) {
    return of(t).allocate(size);
  }
  static size_t alignment(ggml_backend_buffer_type_t t) {
    return ggml_backend_buft_get_alignment(of(t).inner_type_);
  }
  static size_t max_size(ggml_backend_buffer_type_t t) {
    return ggml_backend_buft_get_max_size(of(t).inner_type_);
  }
  static size_t alloc_size(ggml_backend_buffer_type_t t, const ggml_tensor* tensor) {
    return ggml_backend_buft_get_alloc_size(of(t).inner_type_, tensor);
  }
  static bool is_host(ggml_backend_buffer_type_t t) { return ggml_backend_buft_is_host(of(t).inner_type_); }
};

GpuDevice::GpuDevice(HostDevice& host, memory::Pool& pool, ggml_backend_dev_t inner)
    : BackendDevice(pool, inner),
      host_(host),
      weights_(host.weights()),
      inner_type_(ggml_backend_dev_buffer_type(inner)),
      counted_type_(std::make_unique<ggml_backend_buffer_type>()) {
  using Counted = CountedBuffers;
  counted_type_->iface = {Counted::name,     Counted::allocate,   Counted::alignment,
                          Counted::max_size, Counted::alloc_size, Counted::is_host};
  counted_type_->device = handle();
  counted_type_->context = this;
  choose({});
}

GpuDevice::~GpuDevice() {
  if (row_products_ != nullptr) host_.keep_rows(*row_products_);
}

Status GpuDevice::settle(Bytes kv_cache, Bytes compute) {
  buffers_.clear();
  for (const auto& [bytes, owner] :
       {std::pair(kv_cache, memory::Tag::kKvCache), std::pair(compute, memory::Tag::kCompute)}) {
    BRIMFUL_TRY(auto reservation, pool_.reserve(bytes, owner));
    buffers_.push_back(std::move(reservation));
  }
  return {};
}

bool GpuDevice::supports_op(const ggml_tensor& op) const {
  return takes(op) && ggml_backend_dev_supports_op(inner_, &op);
}

bool GpuDevice::supports_buffer_type(ggml_backend_buffer_type_t type) const {
  return type == counted_type_.get() || weights_.is(type) || ggml_backend_dev_supports_buft(inner_, type);
}

void GpuDevice::set_abort_callback(Stream&, ggml_abort_callback callback, void* data) {
  abort_ = callback;
  abort_data_ = data;
}

ExpertStatistics GpuDevice::experts() const {
  ExpertStatistics out = experts_before_;
  if (experts_) out += experts_->statistics();
  return out;
}

/// Whether `op` is attention over cells that lie in the host's memory.
bool GpuDevice::attends_to_host(const ggml_tensor& op) const {
  if (op.op != GGML_OP_FLASH_ATTN_EXT) return false;
  const ggml_tensor* keys = op.src[1];
  while (keys->view_src != nullptr) keys = keys->view_src;
  return keys->buffer != nullptr && ggml_backend_buffer_is_host(keys->buffer);
}

bool GpuDevice::takes(const ggml_tensor& op) const {
  if (attends_to_host(op)) return host_.leaves(op);
  if (experts_ && experts_->takes(op)) return !leaves_experts_;
  // A bias of experts is added where their product is computed: otherwise all its rows would cross the link,
  // twice.
  const bool biases = op.op == GGML_OP_ADD_ID && op.src[0]->op == GGML_OP_MUL_MAT_ID;
  if (biases && !takes(*op.src[0])) return false;
  const bool by_experts = op.op == GGML_OP_MUL_MAT_ID;
  const std::int64_t tokens = by_experts ? op.src[2]->ne[1] : op.ne[1];
  const bool batch = ring_size_ > Bytes{} && tokens >= (by_experts ? transfer_policy_.min_batch_of_experts
                                                                   : transfer_policy_.min_batch);
  // The norms of a layer of which only the cells lie here are computed where its products are.
  if (const auto layer = layer_of_norm(op); layer && !batch && !layers_.contains(*layer)) return false;
  for (int s = 0; s < GGML_MAX_SRC; ++s) {
    const ggml_tensor* const src = op.src[s];
    const auto weight = src != nullptr ? weights_.weight_of(src) : std::nullopt;
    if (!weight) continue;
    if (src->view_src != nullptr) return false;
    if (device_tensors_[*weight] != nullptr && (batch || !for_batches_[*weight])) continue;
    const bool product =
        s == 0 && ((op.op == GGML_OP_MUL_MAT && op.ne[2] == 1) || (by_experts && !leaves_experts_));
    if (!batch || !product || !sendable_[*weight]) return false;
  }
  return true;
}

ggml_backend_buffer_t GpuDevice::allocate(std::size_t size) {
  // Every buffer is counted as KV cache for now. settle() is told what they are, and which of them ggml has
  // given back, as it does when a later one is larger.
  auto reservation = pool_.reserve(Bytes{size}, memory::Tag::kKvCache);
  if (!reservation) {
    error_ = reservation.error();
    return nullptr;
  }
  ggml_backend_buffer_t const buffer = ggml_backend_buft_alloc_buffer(inner_type_, size);
  if (buffer == nullptr) {
    error_ = Error{ErrorCode::kBudgetExceeded, fmt::format("{} has no {} left", ggml_backend_dev_name(inner_),
                                                           format_bytes(Bytes{size}))};
    return nullptr;
  }
  buffers_.push_back(std::move(*reservation));
  return buffer;
}

}  // namespace brimful::tier
