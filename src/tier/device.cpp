#include "tier/device.h"

#include <fmt/format.h>
#include <ggml-cpu.h>

#include <algorithm>
#include <cstring>

#include "tier/graph_recorder.h"
#include "tier/kernel_probe.h"

namespace strata::tier {
namespace {

// Between two runs a worker polls this long (of 100) before it sleeps: runs follow one another closely, but
// a worker that spins through a wait for the disk takes a core from the reader.
constexpr std::uint32_t kPoll = 2;

// Four threads for the ring; each takes its stack and the kernel's structures (measured: 130 KiB).
constexpr Bytes kReaderThreads{4 * 144 * 1024};

struct Stream {
  Device* device;
  ggml_backend_t inner;
  int threads;
};

}  // namespace

/// The C tables. What may fail stores its error in the device; ggml only learns that it failed.
struct DeviceCalls {
  static Device& of(ggml_backend_dev_t dev) { return *static_cast<Device*>(dev->context); }
  static Stream& of(ggml_backend_t backend) { return *static_cast<Stream*>(backend->context); }

  // device
  static const char* name(ggml_backend_dev_t) { return "Strata"; }
  static const char* description(ggml_backend_dev_t dev) {
    return ggml_backend_dev_description(of(dev).inner_device_);
  }
  static void memory_info(ggml_backend_dev_t dev, size_t* free, size_t* total) {
    const memory::Pool& pool = of(dev).pool_;
    *total = pool.capacity().value;
    *free = (pool.capacity() - pool.reserved()).value;
  }
  // A GPU in libllama's eyes: only to such devices does it give whole layers.
  static enum ggml_backend_dev_type type(ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; }
  static void props(ggml_backend_dev_t dev, ggml_backend_dev_props* out) {
    std::memset(out, 0, sizeof *out);
    out->name = name(dev);
    out->description = description(dev);
    out->type = type(dev);
    memory_info(dev, &out->memory_free, &out->memory_total);
  }
  static ggml_backend_buffer_type_t buffer_type(ggml_backend_dev_t dev) { return of(dev).host_.handle(); }
  static bool supports_op(ggml_backend_dev_t dev, const ggml_tensor* op) {
    const std::int64_t elsewhere = of(dev).attention_elsewhere_;
    if (elsewhere > 0 && op->op == GGML_OP_FLASH_ATTN_EXT && op->src[0]->ne[1] >= elsewhere) return false;
    return ggml_backend_dev_supports_op(of(dev).inner_device_, op);
  }
  static bool supports_buft(ggml_backend_dev_t dev, ggml_backend_buffer_type_t buft) {
    return buft == of(dev).weights_.handle() || ggml_backend_buft_is_host(buft);
  }
  static ggml_backend_t init(ggml_backend_dev_t dev, const char*) {
    Device& device = of(dev);
    ggml_backend_t const inner = ggml_backend_dev_init(device.inner_device_, nullptr);
    if (inner == nullptr) return nullptr;
    ggml_backend_cpu_set_threadpool(inner, device.threads_);
    auto* const backend = new ggml_backend{};
    backend->guid = guid();
    backend->iface.get_name = [](ggml_backend_t) { return "Strata"; };
    backend->iface.free = free_backend;
    backend->iface.graph_compute = graph_compute;
    backend->device = dev;
    backend->context = new Stream{&device, inner, device.options_.threads};
    return backend;
  }

  // backend
  static ggml_guid_t guid() {
    static ggml_guid value = {0x73, 0x74, 0x72, 0x61, 0x74, 0x61, 0x2d, 0x74,
                              0x69, 0x65, 0x72, 0x2d, 0x68, 0x6f, 0x73, 0x74};
    return &value;
  }
  static void free_backend(ggml_backend_t backend) {
    ggml_backend_free(of(backend).inner);
    delete &of(backend);
    delete backend;
  }
  static ggml_status graph_compute(ggml_backend_t backend, ggml_cgraph* graph) noexcept {
    const Stream& stream = of(backend);
    Device& device = *stream.device;
    try {
      const Status status = device.compute(stream.inner, stream.threads, *graph);
      if (status) return GGML_STATUS_SUCCESS;
      device.error_ = status.error();
    } catch (const std::exception& error) {  // no memory for the program of a pass
      device.error_ = Error{ErrorCode::kInternal, error.what()};
    }
    return device.error_->code == ErrorCode::kCancelled ? GGML_STATUS_ABORTED : GGML_STATUS_FAILED;
  }

  // registry: libllama looks these up by name
  static void set_n_threads(ggml_backend_t backend, int threads) {
    of(backend).threads = threads;
    ggml_backend_cpu_set_n_threads(of(backend).inner, threads);
  }
  static void set_abort_callback(ggml_backend_t backend, ggml_abort_callback callback, void* data) {
    ggml_backend_cpu_set_abort_callback(of(backend).inner, callback, data);
  }
  static void* proc_address(ggml_backend_reg_t, const char* proc) {
    if (std::strcmp(proc, "ggml_backend_set_n_threads") == 0) return reinterpret_cast<void*>(set_n_threads);
    if (std::strcmp(proc, "ggml_backend_set_abort_callback") == 0)
      return reinterpret_cast<void*>(set_abort_callback);
    return nullptr;
  }
  static size_t device_count(ggml_backend_reg_t) { return 1; }
  static ggml_backend_dev_t device(ggml_backend_reg_t reg, size_t) {
    return &static_cast<Device*>(reg->context)->device_;
  }
  static const char* reg_name(ggml_backend_reg_t) { return "Strata"; }

  static void fill(Device& device) {
    device.reg_.api_version = GGML_BACKEND_API_VERSION;
    device.reg_.iface = {reg_name, device_count, DeviceCalls::device, proc_address};
    device.reg_.context = &device;
    ggml_backend_device_i& iface = device.device_.iface;
    iface.get_name = name;
    iface.get_description = description;
    iface.get_memory = memory_info;
    iface.get_type = type;
    iface.get_props = props;
    iface.init_backend = init;
    iface.get_buffer_type = buffer_type;
    iface.get_host_buffer_type = buffer_type;
    iface.supports_op = supports_op;
    iface.supports_buft = supports_buft;
    device.device_.reg = &device.reg_;
    device.device_.context = &device;
  }
};

Result<std::unique_ptr<Device>> Device::create(const model::ModelProfile& profile, memory::Pool& pool,
                                               DeviceOptions options) {
  STRATA_TRY(DiskFiles files, DiskFiles::open(profile));
  if (!options.make_reader) {
    options.make_reader = [](const DiskFiles& f, std::size_t depth) {
      return make_reader(f, ReaderKind::kAuto, depth);
    };
  }
  std::unique_ptr<Device> device(new Device(profile, pool, std::move(options), std::move(files)));
  device->inner_device_ = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  if (device->inner_device_ == nullptr)
    return fail(ErrorCode::kInternal, "ggml has no CPU device in this build");
  ggml_backend_dev_t const reorders = device->options_.file_order ? nullptr : device->inner_device_;
  device->layout_ = std::make_unique<RepackedLayout>(reorders, device->options_.threads);
  STRATA_TRY(device->row_reader_, device->options_.make_reader(device->files_, Executor::kRowReads));
  if (device->options_.share_threads != nullptr) {
    device->threads_ = device->options_.share_threads->threads_;
    return device;
  }
  ggml_threadpool_params params = ggml_threadpool_params_default(device->options_.threads);
  params.poll = kPoll;
  device->threads_ = ggml_threadpool_new(&params);
  if (device->threads_ == nullptr) {
    return fail(ErrorCode::kInternal,
                fmt::format("cannot start {} compute threads", device->options_.threads));
  }
  device->owns_threads_ = true;
  return device;
}

Device::Device(const model::ModelProfile& profile, memory::Pool& pool, DeviceOptions options, DiskFiles files)
    : profile_(profile),
      pool_(pool),
      options_(std::move(options)),
      files_(std::move(files)),
      host_(&device_),
      weights_(profile, &device_, host_),
      table_(profile) {
  DeviceCalls::fill(*this);
  weights_.attach(&files_);
}

Device::~Device() {
  if (owns_threads_) ggml_threadpool_free(threads_);
}

void Device::record(int threads, const ggml_cgraph& graph) {
  merge(recorded_, needs_of(graph, weights_, *layout_));
  plan::GraphWork work = work_of(graph, weights_, *layout_);
  if (std::ranges::find(work_, work.tokens, &plan::GraphWork::tokens) == work_.end())
    work_.push_back(std::move(work));
  // Repacked kernels convert their inputs to the same types as the plain ones: they need no more.
  work_bytes_ = std::max(work_bytes_, std::uint64_t{ggml_graph_plan(&graph, threads, threads_).work_size});
}

Status Device::record_token_by_token(ggml_backend_t inner, const ggml_cgraph& graph) {
  if (!split_.learned()) return split_.learn(graph);
  STRATA_TRY(const TokenSplit::Cuts cuts, split_.match(graph));
  most_tokens_ = cuts.tokens;
  for (int n = 0; n < graph.n_nodes; ++n) {
    const ggml_tensor& node = *graph.nodes[n];
    const bool by_experts = node.op == GGML_OP_MUL_MAT_ID;
    if (cuts.dimension[static_cast<std::size_t>(n)] == 0 && !by_experts) continue;
    const auto weight = node.src[0]->view_src == nullptr ? weights_.weight_of(node.src[0]) : std::nullopt;
    const auto use = std::ranges::find(recorded_.uses, weight.value_or(UINT32_MAX), &plan::TensorUse::tensor);
    const bool repacked = use != recorded_.uses.end() && use->repacked;
    const TokenSplit::Kernel kernel = TokenSplit::kernel_of(node, repacked);
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
    // The parts of a matrix share their operand's views.
    if (weight)
      split_bytes_per_unit_ = std::max(split_bytes_per_unit_, NodeCutter::bytes_per_shadow() * stretches);
  }
  return {};
}

Needs Device::needs() const {
  const bool threads = row_reader_ != nullptr && row_reader_->name() == "threads";
  return Needs{recorded_.uses, Bytes{work_bytes_},    gather_staging() + expert_ids() + repack_scratch(),
               split_bytes_,   split_bytes_per_unit_, threads ? kReaderThreads : Bytes{}};
}

void Device::forget_needs() {
  recorded_ = GraphNeeds{};
  work_.clear();
  work_bytes_ = 0;
  learn_one_token();
}

void Device::learn_one_token() {
  split_.forget();
  split_bytes_ = split_bytes_per_unit_ = Bytes{};
  most_tokens_ = 1;
}

Bytes Device::gather_staging() const {
  return Executor::staging_bytes(recorded_.gather_rows, recorded_.gather_row_bytes);
}

Bytes Device::expert_ids() const {
  return align_up(Bytes{recorded_.expert_ids * sizeof(std::int32_t)}, Bytes{DiskFiles::kBlock});
}

Bytes Device::repack_scratch() const {
  return recorded_.repacked_row_bytes > 0 ? layout_->scratch_bytes(recorded_.repacked_row_bytes) : Bytes{};
}

plan::Bookkeeping Device::bookkeeping() const {
  return {PassProgram::bytes_per_unit(recorded_.repacked_row_bytes > 0) + PassStream::bytes_per_entry() +
              Bytes{sizeof(plan::Unit)} + split_bytes_per_unit_,
          ExpertCache::bytes_per_expert()};
}

Status Device::place(plan::Placement placement, const Progress& progress) {
  using memory::Owner;
  recording_ = false;
  const Needs needs = this->needs();
  const auto reserve = [&](Bytes bytes, Owner owner) -> Status {
    STRATA_TRY(auto reservation, pool_.reserve(bytes, owner));
    reservations_.push_back(std::move(reservation));
    return {};
  };
  STRATA_TRY_VOID(host_.commit(pool_));
  STRATA_TRY_VOID(reserve(needs.work, Owner::kCompute));
  STRATA_TRY_VOID(reserve(needs.staging, Owner::kCompute));
  STRATA_TRY_VOID(reserve(placement.ring, Owner::kRing));
  const Bytes for_experts = placement.slot_bytes() + placement.stage + placement.landing;
  STRATA_TRY_VOID(reserve(for_experts, Owner::kExperts));
  STRATA_TRY_VOID(reserve(placement.arena_bytes() - placement.ring - for_experts, Owner::kWeights));
  STRATA_TRY(staging_, memory::Region::reserve(needs.staging));
  STRATA_TRY_VOID(staging_.commit());
  STRATA_TRY(arena_, memory::Region::reserve(placement.arena_bytes()));
  STRATA_TRY_VOID(arena_.commit());
  const Bytes gathers = gather_staging();
  layout_->use_scratch(staging_.data() + (gathers + expert_ids()).value, repack_scratch());
  table_.set(std::move(placement), recorded_.uses, arena_.data());
  STRATA_TRY(auto experts, read_weights(progress));
  executor_ = std::make_unique<Executor>(
      files_, weights_, table_, *layout_, Executor::Memory{arena_.data(), staging_.data(), gathers},
      options_.make_reader, std::move(row_reader_), std::move(experts), options_.trace);
  return {};
}

Result<std::unique_ptr<ExpertCache>> Device::read_weights(const Progress& progress) {
  const plan::Placement& placement = table_.placement();
  Bytes total = placement.slot_bytes();
  for (const plan::Extent& extent : placement.extents) total += extent.size;
  const auto more = [&](Bytes bytes) {
    loaded_ += bytes;
    return !progress || progress(std::min(loaded_, total), total);
  };
  STRATA_TRY_VOID(read_residents(more));

  const std::unique_ptr<ggml_backend, decltype(&ggml_backend_free)> inner(
      ggml_backend_dev_init(inner_device_, nullptr), ggml_backend_free);
  if (inner == nullptr) return fail(ErrorCode::kInternal, "ggml's CPU device cannot be started");
  ggml_backend_cpu_set_threadpool(inner.get(), threads_);
  ggml_backend_cpu_set_n_threads(inner.get(), options_.threads);
  const auto rearrange = [&](std::span<const FreshRows> fresh) {
    return layout_->repack(inner.get(), table_, fresh);
  };
  for (const plan::Unit& unit : placement.units) {
    if (!unit.resident) continue;
    const FreshRows rows{unit.tensor, unit.rows, table_.address(unit)};
    STRATA_TRY_VOID(rearrange(std::span(&rows, 1)));
  }
  if (placement.groups.empty()) return nullptr;
  STRATA_TRY(auto reader, options_.make_reader(files_, PartReader::kDepth));
  auto experts = std::make_unique<ExpertCache>(
      profile_, placement, arena_.data(),
      reinterpret_cast<std::int32_t*>(staging_.data() + gather_staging().value), std::move(reader));
  STRATA_TRY_VOID(experts->fill(rearrange, more));
  return experts;
}

Status Device::read_residents(const std::function<bool(Bytes)>& more) {
  constexpr std::uint64_t kLoadBlock = 4ULL << 20;
  STRATA_TRY(auto reader, options_.make_reader(files_, 8));
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

Status Device::compute(ggml_backend_t inner, int threads, const ggml_cgraph& graph) {
  if (recording_) {
    record(threads, graph);
    return token_by_token_ ? record_token_by_token(inner, graph) : Status{};
  }
  if (executor_ == nullptr) return fail(ErrorCode::kInternal, "the weights were never placed: start again");
  if (auto error = weights_.take_error()) return std::unexpected(std::move(*error));
  return executor_->compute(inner, graph, token_by_token_ ? &split_ : nullptr);
}

std::optional<Error> Device::take_error() { return std::exchange(error_, std::nullopt); }

PassStatistics Device::statistics() const {
  return executor_ == nullptr ? PassStatistics{} : executor_->statistics();
}

}  // namespace strata::tier
