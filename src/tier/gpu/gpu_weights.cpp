// The weights that lie on a device, and how they get there.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/check.h"
#include "tier/gpu/gpu_device.h"
#include "tier/gpu/upload_reader.h"

namespace brimful::tier {
namespace {

// Largest size of a read, in bytes.
constexpr std::uint64_t kBlock = 1ULL << 20;
// Largest number of reads in flight.
constexpr std::uint64_t kBlocks = 8;

// Memory for a thread that sends, four that read and their stacks, the schedule and the compiled pass. An
// estimate.
constexpr Bytes kSender{2 << 20};

// Alignment of the buffers behind the ring.
constexpr Bytes kBufferAlignment{256};

}  // namespace

/// Bytes that a weight takes on the device. Some back ends want zeros behind the rows of the file: CUDA's
/// kernels read quantised rows up to a multiple of 512 elements.
Bytes GpuDevice::padded_bytes(std::uint32_t weight) const {
  const model::TensorInfo& info = weights_.profile().tensors[weight];
  ggml_tensor like{};
  like.type = info.type;
  std::ranges::copy(info.shape, like.ne);
  like.nb[0] = ggml_type_size(info.type);
  like.nb[1] = info.row_bytes().value;
  for (int i = 2; i < GGML_MAX_DIMS; ++i)
    like.nb[i] = like.nb[i - 1] * static_cast<std::size_t>(like.ne[i - 1]);
  return Bytes{ggml_backend_buft_get_alloc_size(inner_type_, &like)};
}

namespace {

/// The layers of which a matrix is among `tensors`. Experts do not count.
std::set<int> layers_in(const model::ModelProfile& profile, const std::vector<std::uint32_t>& tensors) {
  std::set<int> out;
  for (const std::uint32_t tensor : tensors) {
    const model::TensorInfo& info = profile.tensors[tensor];
    if (info.is_dense_matrix_of_layer()) out.insert(*info.layer);
  }
  return out;
}

}  // namespace

void GpuDevice::choose(const std::vector<std::uint32_t>& tensors, Bytes ring,
                       std::span<const plan::CachedExperts> experts, std::span<const int> sent_layers,
                       std::span<const plan::DeviceRows> rows) {
  BRIMFUL_CHECK(!placed_);
  const model::ModelProfile& profile = weights_.profile();
  experts_before_ = this->experts();
  experts_.reset();
  context_.reset(ggml_init({(profile.tensors.size() + 2) * ggml_tensor_overhead(), nullptr, true}));
  device_tensors_.assign(profile.tensors.size(), nullptr);
  for_batches_.assign(profile.tensors.size(), false);
  sendable_.assign(profile.tensors.size(), false);
  const Bytes row_buffers = align_up(plan::row_buffers(profile, rows).total(), kBufferAlignment);
  rows_.clear();
  if (row_buffers < ring) rows_.assign(rows.begin(), rows.end());
  ring_size_ = rows_.empty() ? ring : align_down(ring - row_buffers, kBufferAlignment);
  // The ring has room for two of a matrix whose rows are sent.
  std::erase_if(rows_, [&](const plan::DeviceRows& some) {
    return plan::bytes_of(profile, std::span(&some, 1)) * 2 > ring_size_;
  });
  const auto add = [&](std::uint32_t index) {
    const model::TensorInfo& info = profile.tensors[index];
    ggml_tensor* const device_tensor =
        ggml_new_tensor(context_.get(), info.type, GGML_MAX_DIMS, info.shape.data());
    ggml_set_name(device_tensor, info.name.c_str());
    device_tensors_[index] = device_tensor;
  };
  std::ranges::for_each(tensors, add);
  layers_ = layers_in(profile, tensors);
  if (!experts.empty())
    experts_.emplace(weights_, host_, experts, context_.get(), transfer_policy_.missing_experts, inner_);
  if (ring == Bytes{}) return;
  const auto is_sent = [&](const model::TensorInfo& info) {
    return sent_layers.empty() || !info.layer ||
           std::ranges::find(sent_layers, *info.layer) != sent_layers.end();
  };
  // The ring has room for two of a matrix that is sent.
  for (std::uint32_t i = 0; i < profile.tensors.size(); ++i)
    sendable_[i] = is_sent(profile.tensors[i]) && padded_bytes(i) * 2 <= ring_size_;
  // Norms and biases stand between the products: if they were not here, each would cost two crossings.
  for (std::uint32_t i = 0; i < profile.tensors.size(); ++i) {
    const model::TensorInfo& info = profile.tensors[i];
    if (device_tensors_[i] != nullptr || info.rows() > 1 || info.shape[0] != profile.embedding) continue;
    if (!is_sent(info)) continue;
    add(i);
    for_batches_[i] = true;
  }
}

Bytes GpuDevice::weight_bytes() const {
  if (arena_ != nullptr) return arena_reservation_.bytes();
  return Bytes{ggml_backend_alloc_ctx_tensors_from_buft_size(context_.get(), inner_type_)};
}

Result<ggml_backend_buffer_ptr> GpuDevice::allocate_weights(ggml_context* tensors, Bytes size,
                                                            memory::Tag owner,
                                                            memory::Reservation& reservation) {
  BRIMFUL_TRY(reservation, pool_.reserve(size, owner));
  ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors_from_buft(tensors, inner_type_));
  if (buffer == nullptr) {
    return fail(ErrorCode::kBudgetExceeded, fmt::format("{} has no {} left for weights",
                                                        ggml_backend_dev_name(inner_), format_bytes(size)));
  }
  ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
  return buffer;
}

Status GpuDevice::place(memory::Pool& host_pool, const Progress& progress) {
  placed_ = true;
  if (ring_size_ > Bytes{}) {
    ring_context_.reset(ggml_init({ggml_tensor_overhead() + 64, nullptr, true}));
    const Bytes size =
        ring_size_ + align_up(plan::row_buffers(weights_.profile(), rows_).total(), kBufferAlignment);
    ggml_new_tensor_1d(ring_context_.get(), GGML_TYPE_I8, static_cast<std::int64_t>(size.value));
    BRIMFUL_TRY(ring_, allocate_weights(ring_context_.get(), size, memory::Tag::kRing, ring_reservation_));
  }
  if (weight_bytes() == Bytes{}) return {};
  BRIMFUL_TRY(arena_,
              allocate_weights(context_.get(), weight_bytes(), memory::Tag::kWeights, arena_reservation_));
  // The host's weights are not placed yet, so the room for them is still free.
  const std::uint64_t room =
      (host_pool.capacity() - host_pool.reserved()).value / RangeReader::memory_bytes(1, kBlock).value;
  const std::uint64_t blocks = std::clamp<std::uint64_t>(room, 1, kBlocks);
  BRIMFUL_TRY(const auto staged,
              host_pool.reserve(RangeReader::memory_bytes(blocks, kBlock), memory::Tag::kRing));
  BRIMFUL_TRY(auto staging, memory::Region::reserve(staged.bytes()));
  BRIMFUL_TRY_VOID(staging.commit());
  BRIMFUL_TRY(const auto reader, host_.reader_factory()(host_.files(), blocks));
  RangeReader ranges(*reader, staging.data(), blocks, kBlock);
  BRIMFUL_TRY_VOID(send(ranges, progress));
  return experts_ ? experts_->filled() : Status{};
}

Status GpuDevice::send(RangeReader& reader, const Progress& progress) {
  struct Target {
    std::uint32_t weight;
    // The device tensor of the weight, or the slots for its first experts.
    ggml_tensor* tensor;
  };
  std::vector<Target> targets;
  for (std::uint32_t index = 0; index < device_tensors_.size(); ++index) {
    if (device_tensors_[index] != nullptr) targets.push_back({index, device_tensors_[index]});
  }
  if (experts_) {
    for (const auto& [weight, tensor] : experts_->slots()) targets.push_back({weight, tensor});
  }
  std::ranges::sort(targets, {}, &Target::weight);  // the order in the file
  std::optional<Error> error;
  Bytes done;
  const auto take_one = [&] {
    const auto [range, status, bytes] = reader.wait();
    if (!status && !error) error = status.error();
    if (error) return;
    const auto& [weight, tensor] = targets[range.tag];
    ggml_backend_tensor_set(tensor, bytes, range.offset - weights_.profile().tensors[weight].offset,
                            range.size);
    done += Bytes{range.size};
    if (progress && !progress(done)) error = Error{ErrorCode::kCancelled, "loading was cancelled"};
  };
  for (std::size_t index = 0; index < targets.size() && !error; ++index) {
    const model::TensorInfo& info = weights_.profile().tensors[targets[index].weight];
    const std::uint64_t end = info.offset + ggml_nbytes(targets[index].tensor);
    for (std::uint64_t at = info.offset; at < end && !error;) {
      if (reader.full()) take_one();
      if (error) break;
      const std::uint64_t stop = std::min(end, align_down(at + kBlock, DiskFiles::kBlock));
      reader.submit({info.file, at, static_cast<std::uint32_t>(stop - at), nullptr, index});
      at = stop;
    }
  }
  while (reader.in_flight() > 0) take_one();
  if (error) return std::unexpected(*error);
  return host_.files().check_unchanged();
}

void GpuDevice::disconnect() {
  if (row_products_ != nullptr) host_.keep_rows(*row_products_);
  row_products_.reset();
  sent_before_ = sent();
  stalled_before_ = statistics().stalled;
  stream_.reset();
  turning_threads_.reset();
  copies_.reset();
  pageable_ = false;
  pinned_staging_ = {};
  staging_ = {};
}

void GpuDevice::displace() {
  disconnect();
  ring_.reset();
  ring_reservation_ = {};
  arena_.reset();
  arena_reservation_ = {};
  buffers_.clear();
  placed_ = false;
  choose({});
}

Bytes GpuDevice::host_bytes() const {
  const Bytes threads =
      TurningThreads::kMemory * static_cast<std::uint64_t>(transfer_policy_.turning_threads);
  const Bytes upload = ring_size_ > Bytes{} ? UploadReader::staging_bytes() + kSender + threads : Bytes{};
  return upload + (experts_ ? experts_->host_bytes() : Bytes{}) +
         GpuRows::host_bytes(weights_.profile(), rows_);
}

Status GpuDevice::connect() {
  if (ring_ == nullptr && !experts_) return {};
  disconnect();
  const WeightTable& table = host_.table();
  const bool pinned = host_.pin_weights(inner_);
  pageable_ = copies_from_pinned(inner_) && !pinned;
  if (ring_ == nullptr) return {};
  BRIMFUL_TRY(staging_, memory::Region::reserve(UploadReader::staging_bytes()));
  BRIMFUL_TRY_VOID(staging_.commit());
  pinned_staging_ = PinnedMemory(inner_, {staging_.data(), staging_.size().value});
  host_.host_buffers().pin_caches(inner_);
  pageable_ = copies_from_pinned(inner_) && !(pinned_staging_ && pinned);
  if (pinned) copies_.emplace(inner_, UploadReader::kDepth);
  CopyQueue* const queue = copies_ && copies_->usable() ? &*copies_ : nullptr;
  // With one, the thread that sends turns back itself: copies go on meanwhile.
  const int threads = table.any_repacked() ? transfer_policy_.turning_threads : 1;
  if (threads > 1) {
    BRIMFUL_TRY(turning_threads_, TurningThreads::create(threads));
  }
  ggml_tensor* const ring = ggml_get_first_tensor(ring_context_.get());
  const auto make_sender = [this, &table, ring, queue](
                               const DiskFiles& f, std::size_t depth) -> Result<std::unique_ptr<DiskReader>> {
    BRIMFUL_TRY(auto disk, host_.reader_factory()(f, std::min(depth, UploadReader::kDepth)));
    return std::make_unique<UploadReader>(table, host_.expert_loans(), std::move(disk), staging_.data(), ring,
                                          queue, turning_threads_.get(), from_disk_);
  };
  stream_ = std::make_unique<PassStream>(host_.files(), make_sender, static_cast<std::byte*>(ring->data),
                                         ring_size_);
  // Over one connection, large copies would keep each small copy of a step waiting.
  ggml_backend_dev_props props{};
  ggml_backend_dev_get_props(inner_, &props);
  if (rows_.empty() || !props.caps.async || !props.caps.events) return {};
  BRIMFUL_TRY(row_products_,
              GpuRows::create(table, rows_, {ring, ring_size_.value}, *stream_, inner_, backend_));
  host_.share_rows(*row_products_);
  return {};
}

}  // namespace brimful::tier
