#include "tier/host/host_device.h"

#include <fmt/format.h>
#include <ggml-cpu.h>
#include <ggml-impl.h>

#include <algorithm>

#include "tier/host/arriving_experts.h"
#include "tier/host/graph_nodes.h"
#include "tier/host/graph_recorder.h"
#include "tier/host/kernel_probe.h"
#include "tier/host/layer_names.h"

namespace brimful::tier {
namespace {

// Memory of the four reader threads of the ring: each takes its stack and the kernel's structures, which was
// measured as 130 KiB.
constexpr Bytes kReaderThreads{4 * 144 * 1024};

/// Fills the results of the graph with numbers that depend only on the place in a row. Each row of integers
/// numbers its own elements, so that a choice of experts names some that exist.
void pretend_results_of(const ggml_cgraph& graph) {
  for (int n = 0; n < graph.n_nodes; ++n) {
    const ggml_tensor& node = *graph.nodes[n];
    const bool numbers = node.type == GGML_TYPE_F32 || node.type == GGML_TYPE_I32;
    if (computes_nothing(&node) || node.view_src != nullptr || !numbers || !ggml_is_contiguous(&node))
      continue;
    const std::int64_t rows = ggml_nrows(&node);
    for (std::int64_t row = 0; row < rows; ++row) {
      auto* const begin = static_cast<char*>(node.data) + static_cast<std::size_t>(row) * node.nb[1];
      std::uint32_t state = 1;
      for (std::int64_t i = 0; i < node.ne[0]; ++i) {
        state = state * 1664525U + 1013904223U;
        if (node.type == GGML_TYPE_I32) {
          reinterpret_cast<std::int32_t*>(begin)[i] = static_cast<std::int32_t>(i);
        } else {
          reinterpret_cast<float*>(begin)[i] =
              static_cast<float>(state >> 8) / static_cast<float>(1U << 23) - 1;
        }
      }
    }
  }
}

}  // namespace

bool HostDevice::leaves(const ggml_tensor& op) const {
  if (const auto layer = layer_of_norm(op); layer && norms_elsewhere_.contains(*layer)) return true;
  if (elsewhere_.tokens == 0) return false;
  if (op.op == GGML_OP_FLASH_ATTN_EXT) {
    const std::int64_t tokens = op.src[0]->ne[1] * op.src[0]->ne[3];
    const bool wanted = elsewhere_.attention == Attention::kAll ||
                        (elsewhere_.attention == Attention::kOfPrompts && tokens > sequences_);
    return wanted && tokens >= elsewhere_.tokens;
  }
  if (op.op != GGML_OP_NORM && op.op != GGML_OP_RMS_NORM) return false;
  const ggml_tensor* of = op.src[0];  // [width, tokens], or a view of that by heads
  while (of->view_src != nullptr) of = of->view_src;
  return of->ne[1] >= elsewhere_.tokens;
}

bool HostDevice::supports_op(const ggml_tensor& op) const {
  return !leaves(op) && ggml_backend_dev_supports_op(inner_, &op);
}

bool HostDevice::supports_buffer_type(ggml_backend_buffer_type_t type) const {
  return weights_.is(type) || ggml_backend_buft_is_host(type);
}

void HostDevice::started(Stream& stream) {
  stream.threads = options_.threads;
  stream_ = &stream;
  threads_->prepare(stream.inner, stream.threads);
}

void HostDevice::ended(Stream& stream) { threads_->forget(stream.inner); }

void HostDevice::set_threads(Stream& stream, int threads) { stream.threads = threads; }

void HostDevice::set_abort_callback(Stream& stream, ggml_abort_callback callback, void* data) {
  ggml_backend_cpu_set_abort_callback(stream.inner, callback, data);
}

Result<std::unique_ptr<HostDevice>> HostDevice::create(const model::ModelProfile& profile, memory::Pool& pool,
                                                       DeviceOptions options) {
  BRIMFUL_TRY(DiskFiles files, DiskFiles::open(profile));
  if (!options.make_reader) {
    options.make_reader = [](const DiskFiles& f, std::size_t depth) {
      return make_reader(f, ReaderKind::kAuto, depth);
    };
  }
  ggml_backend_dev_t const cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  if (cpu == nullptr) return fail(ErrorCode::kInternal, "ggml has no CPU device in this build");
  std::unique_ptr<HostDevice> device(
      new HostDevice(profile, pool, cpu, std::move(options), std::move(files)));
  device->choose_layouts(cpu);
  BRIMFUL_TRY(device->row_reader_, device->options_.make_reader(device->files_, PassExecutor::kRowReads));
  if (device->options_.share_threads != nullptr) {
    device->threads_ = device->options_.share_threads->threads_;
    return device;
  }
  BRIMFUL_TRY(device->own_threads_, ComputeThreads::create(device->options_.threads));
  device->threads_ = device->own_threads_.get();
  return device;
}

HostDevice::HostDevice(const model::ModelProfile& profile, memory::Pool& pool, ggml_backend_dev_t cpu,
                       DeviceOptions options, DiskFiles files)
    : BackendDevice(pool, cpu),
      profile_(profile),
      options_(std::move(options)),
      files_(std::move(files)),
      host_(handle()),
      weights_(profile, handle(), host_),
      table_(profile) {
  weights_.attach(&files_);
}

HostDevice::~HostDevice() = default;

void HostDevice::choose_layouts(ggml_backend_dev_t cpu) {
  layout_ = std::make_unique<RepackedLayout>(cpu, options_.threads);
  for (const ggml_type type : options_.in_file_order) layout_->keep_file_order(type);
  for (int t = 0; options_.sends && t < GGML_TYPE_COUNT; ++t) {
    const auto type = static_cast<ggml_type>(t);
    if (!layout_->turns_back(type)) layout_->keep_file_order(type);
  }
}

Status HostDevice::turn_back(std::uint32_t tensor, const std::byte* rows, std::uint64_t begin,
                             std::uint64_t size, std::byte* out) {
  const model::TensorInfo& info = profile_.tensors[tensor];
  threads_->prepare(stream_->inner, stream_->threads);
  return layout_->turn_back(stream_->inner, {info.type, info.row_bytes().value, rows}, begin, size, out);
}

void HostDevice::record(int threads, const ggml_cgraph& graph) {
  if (records_drafts_) {
    merge_drafts(recorded_, needs_of(graph, weights_, *layout_));
  } else {
    merge(recorded_, needs_of(graph, weights_, *layout_));
    plan::GraphWork work = work_of(graph, weights_, *layout_);
    if (std::ranges::find(work_, work.tokens, &plan::GraphWork::tokens) == work_.end())
      work_.push_back(std::move(work));
  }
  // Kernels for repacked weights convert their inputs to the same types as the plain ones, so they need no
  // more.
  work_bytes_ =
      std::max(work_bytes_, std::uint64_t{ggml_graph_plan(&graph, threads, threads_->pool()).work_size});
}

Status HostDevice::record_token_by_token(ggml_backend_t inner, const ggml_cgraph& graph) {
  if (!split_.learned()) return split_.learn(graph);
  BRIMFUL_TRY(const BatchInvariance::Cuts cuts, split_.match(graph));
  for (int n = 0; n < graph.n_nodes; ++n) {
    const ggml_tensor& node = *graph.nodes[n];
    const bool by_experts = node.op == GGML_OP_MUL_MAT_ID;
    if (cuts.dimension[static_cast<std::size_t>(n)] == 0 && !by_experts) continue;
    const auto weight = node.src[0]->view_src == nullptr ? weights_.weight_of(node.src[0]) : std::nullopt;
    const auto use = std::ranges::find(recorded_.uses, weight.value_or(UINT32_MAX), &plan::TensorUse::tensor);
    const bool repacked = use != recorded_.uses.end() && use->repacked;
    const BatchInvariance::Kernel kernel = split_.kernel_of(node, repacked);
    if (weight && !split_.trusted(kernel)) {
      split_.trust(kernel, tokens_with_equal_bits(inner, kernel, node.src[0], *layout_, cuts.tokens));
      if (auto error = weights_.take_error()) return std::unexpected(std::move(*error));
    }
    if (by_experts) {
      most_tokens_ = std::min(most_tokens_, split_.trusted(kernel).value_or(1));
      continue;
    }
    const std::uint64_t stretches = split_.stretches(node, repacked, cuts.tokens);
    if (stretches == 1) continue;
    const std::uint64_t views = node.op == GGML_OP_MUL_MAT ? 1 : 2;
    split_bytes_ += NodeCutter::bytes_per_shadow() * (stretches * (1 + views));
    // The parts of a matrix share the views of their operand.
    if (weight)
      split_bytes_per_unit_ = std::max(split_bytes_per_unit_, NodeCutter::bytes_per_shadow() * stretches);
  }
  return {};
}

Needs HostDevice::needs() const {
  const bool threads = row_reader_ != nullptr && row_reader_->name() == "threads";
  return Needs{recorded_.uses,
               Bytes{work_bytes_},
               gather_staging() + expert_ids() + expert_shadows() + repack_scratch(),
               split_bytes_,
               split_bytes_per_unit_,
               threads ? kReaderThreads : Bytes{}};
}

void HostDevice::forget_needs() {
  recorded_ = GraphNeeds{};
  work_.clear();
  work_bytes_ = 0;
  learn_one_token();
}

void HostDevice::learn_one_token() {
  split_.forget();
  split_bytes_ = split_bytes_per_unit_ = Bytes{};
  most_tokens_ = kNoLimit;
}

Bytes HostDevice::gather_staging() const {
  return PassExecutor::staging_bytes(recorded_.gather_rows, recorded_.gather_row_bytes);
}

Bytes HostDevice::expert_ids() const {
  return align_up(Bytes{recorded_.expert_ids * sizeof(std::int32_t)}, Bytes{DiskFiles::kBlock});
}

Bytes HostDevice::expert_shadows() const {
  return align_up(ArrivingExperts::bytes(recorded_.expert_products), Bytes{DiskFiles::kBlock});
}

Bytes HostDevice::repack_scratch() const {
  return recorded_.repacked_row_bytes > 0 ? layout_->scratch_bytes(recorded_.repacked_row_bytes) : Bytes{};
}

plan::Bookkeeping HostDevice::bookkeeping() const {
  return {CompiledPass::bytes_per_unit(recorded_.repacked_row_bytes > 0) + PassStream::bytes_per_entry() +
              Bytes{sizeof(plan::Unit)} + split_bytes_per_unit_,
          ExpertCache::bytes_per_expert()};
}

Status HostDevice::place(plan::Placement placement, const Progress& progress) {
  using memory::Tag;
  recording_ = false;
  loaded_ = {};
  const Needs needs = this->needs();
  const auto reserve = [&](Bytes bytes, memory::Tag tag) -> Status {
    BRIMFUL_TRY(auto reservation, pool_.reserve(bytes, tag));
    reservations_.push_back(std::move(reservation));
    return {};
  };
  BRIMFUL_TRY_VOID(host_.commit(pool_));
  BRIMFUL_TRY_VOID(reserve(needs.work, Tag::kCompute));
  BRIMFUL_TRY_VOID(reserve(needs.staging, Tag::kCompute));
  BRIMFUL_TRY_VOID(reserve(placement.ring, Tag::kRing));
  const Bytes for_experts = placement.slot_bytes() + placement.stage + placement.bounce_buffers;
  BRIMFUL_TRY_VOID(reserve(for_experts, Tag::kExperts));
  BRIMFUL_TRY_VOID(reserve(placement.arena_bytes() - placement.ring - for_experts, Tag::kWeights));
  BRIMFUL_TRY(staging_, memory::Region::reserve(needs.staging));
  BRIMFUL_TRY_VOID(staging_.commit());
  BRIMFUL_TRY(arena_, memory::Region::reserve(placement.arena_bytes()));
  BRIMFUL_TRY_VOID(arena_.commit());
  const Bytes gathers = gather_staging();
  std::byte* const shadows = staging_.data() + (gathers + expert_ids()).value;
  layout_->use_scratch(shadows + expert_shadows().value, repack_scratch());
  table_.set(std::move(placement), recorded_.uses, arena_.data());
  BRIMFUL_TRY(auto experts, read_weights(progress));
  executor_ = std::make_unique<PassExecutor>(
      files_, weights_, table_, *layout_,
      PassExecutor::Memory{
          arena_.data(), staging_.data(), gathers,
          std::span(reinterpret_cast<ggml_tensor*>(shadows), expert_shadows().value / sizeof(ggml_tensor))},
      options_.make_reader, std::move(row_reader_), std::move(experts), options_.trace, *threads_);
  return {};
}

Result<std::unique_ptr<ExpertCache>> HostDevice::read_weights(const Progress& progress) {
  const plan::Placement& placement = table_.placement();
  Bytes total = placement.slot_bytes();
  for (const plan::Extent& extent : placement.extents) total += extent.size;
  const auto more = [&](Bytes bytes) {
    loaded_ += bytes;
    return !progress || progress(std::min(loaded_, total), total);
  };
  BRIMFUL_TRY_VOID(read_residents(more));

  const auto end = [this](ggml_backend_t backend) {
    threads_->forget(backend);
    ggml_backend_free(backend);
  };
  const std::unique_ptr<ggml_backend, decltype(end)> inner(ggml_backend_dev_init(inner_, nullptr), end);
  if (inner == nullptr) return fail(ErrorCode::kInternal, "ggml's CPU device cannot be started");
  threads_->prepare(inner.get(), options_.threads);
  const auto rearrange = [&](std::span<const FreshRows> fresh) {
    return layout_->repack(inner.get(), table_, fresh);
  };
  for (const plan::Unit& unit : placement.units) {
    if (!unit.resident) continue;
    const FreshRows rows{unit.tensor, unit.rows, table_.address(unit)};
    BRIMFUL_TRY_VOID(rearrange(std::span(&rows, 1)));
  }
  if (placement.groups.empty()) return nullptr;
  BRIMFUL_TRY(auto reader, options_.make_reader(files_, PartReader::kDepth));
  auto experts = std::make_unique<ExpertCache>(
      profile_, placement, arena_.data(),
      reinterpret_cast<std::int32_t*>(staging_.data() + gather_staging().value), std::move(reader));
  BRIMFUL_TRY_VOID(experts->fill(rearrange, more, heat_));
  return experts;
}

Status HostDevice::read_residents(const std::function<bool(Bytes)>& more) {
  constexpr std::uint64_t kLoadBlock = 4ULL << 20;
  BRIMFUL_TRY(auto reader, options_.make_reader(files_, 8));
  std::optional<Error> error;
  const auto take_one = [&] {
    const BlockDone done = reader->wait();
    if (!done.status && !error) error = done.status.error();
    if (!error && !more(Bytes{done.tag})) error = Error{ErrorCode::kCancelled, "loading was cancelled"};
  };
  for (const plan::Extent& extent : table_.placement().extents) {
    for (std::uint64_t at = 0; at < extent.size.value && !error; at += kLoadBlock) {
      if (reader->in_flight() == reader->depth()) take_one();
      const std::uint64_t size = std::min(kLoadBlock, extent.size.value - at);
      reader->submit(BlockRead{extent.file, extent.offset + at, static_cast<std::uint32_t>(size),
                               arena_.data() + extent.place + at, size});
    }
  }
  while (reader->in_flight() > 0) take_one();
  if (error) return std::unexpected(*error);
  return files_.check_unchanged();
}

Status HostDevice::compute(const Stream& stream, ggml_cgraph& graph) {
  threads_->prepare(stream.inner, stream.threads);
  if (recording_) {
    record(stream.threads, graph);
    return token_by_token_ ? record_token_by_token(stream.inner, graph) : Status{};
  }
  if (executor_ == nullptr) return fail(ErrorCode::kInternal, "the weights were never placed: start again");
  if (auto error = weights_.take_error()) return std::unexpected(std::move(*error));
  if (pretends_) {
    pretend_results_of(graph);
    return {};
  }
  BRIMFUL_TRY_VOID(executor_->compute(stream.inner, graph, token_by_token_ ? &split_ : nullptr));
  if (&stream != stream_) ++drafting_;
  return {};
}

PassStatistics HostDevice::statistics() const {
  PassStatistics out = past_;
  if (executor_ != nullptr) out += executor_->statistics();
  out.passes -= drafting_;
  return out;
}

bool HostDevice::pin_weights(ggml_backend_dev_t device) {
  const auto [pinned, first] = pinned_.try_emplace(ggml_backend_dev_backend_reg(device));
  if (first) pinned->second = PinnedMemory(device, table_.arena());
  return static_cast<bool>(pinned->second);
}

Status HostDevice::displace() {
  past_ = statistics();
  if (ExpertHeat heat = expert_heat(); !heat.empty()) heat_ = std::move(heat);
  drafting_ = 0;
  executor_.reset();
  row_reader_.reset();
  BRIMFUL_TRY(row_reader_, options_.make_reader(files_, PassExecutor::kRowReads));
  table_.clear();
  pinned_.clear();
  arena_ = {};
  staging_ = {};
  reservations_.clear();
  recording_ = true;
  return {};
}

}  // namespace brimful::tier
