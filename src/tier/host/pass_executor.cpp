#include "tier/host/pass_executor.h"

#include <fmt/format.h>
#include <ggml-impl.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "tier/host/arriving_experts.h"
#include "tier/host/expert_guesses.h"
#include "tier/io/range_reader.h"

namespace brimful::tier {
namespace {

constexpr std::uint64_t ids_bytes(std::uint64_t rows) {
  return align_up(rows * sizeof(std::int32_t), DiskFiles::kBlock);
}

/// The name of the first weight that `nodes` use: a shadow has the name of its weight. `segment` if they use
/// none.
std::string_view name_of(std::span<ggml_tensor* const> nodes, const model::ModelProfile& profile) {
  for (const ggml_tensor* node : nodes) {
    for (const ggml_tensor* src : node->src) {
      const model::TensorInfo* const weight = src != nullptr ? profile.find(src->name) : nullptr;
      if (weight != nullptr) return weight->name;
    }
  }
  return "segment";
}

/// Whether the bits of a node depend on the number of threads that compute it: ggml cuts the attention of a
/// single token over many cells into as many parts as there are threads (ggml-cpu/ops.cpp).
bool depends_on_threads(const ggml_tensor& node) {
  constexpr std::int64_t kManyCells = 512;
  return node.op == GGML_OP_FLASH_ATTN_EXT && node.src[0]->ne[1] == 1 && node.src[1]->ne[1] >= kManyCells;
}

/// The number of `nodes` that are computed before the number of threads may change. Where threads wait for
/// one another at each node, 64 nodes take a quarter of a second. A stretch begins with a product, so that
/// nodes that ggml computes together stay together; products of many tokens take long enough by themselves.
/// With `short_one`, the stretch ends before the next product. Where some threads are taken back (`fewer`), a
/// node that needs all of them is a stretch of its own.
std::size_t length_of_stretch(std::span<ggml_tensor* const> nodes, bool short_one, bool fewer) {
  constexpr std::size_t kNodes = 64;
  constexpr std::int64_t kManyTokens = 32;
  if (fewer && depends_on_threads(*nodes[0])) return 1;
  for (std::size_t i = 1; i < nodes.size(); ++i) {
    const ggml_tensor& node = *nodes[i];
    if (fewer && depends_on_threads(node)) return i;
    if (node.op != GGML_OP_MUL_MAT && node.op != GGML_OP_MUL_MAT_ID) continue;
    if (short_one || i >= kNodes || node.ne[1] >= kManyTokens) return i;
  }
  return nodes.size();
}

/// The products of a pass of which devices multiply some rows. Each device knows its own ones by their
/// number.
class RowProducts {
 public:
  explicit RowProducts(std::span<const RowProduct> all) {
    for (const RowProduct& product : all) {
      auto of_device = std::ranges::find(devices_, product.device, &OfDevice::device);
      if (of_device == devices_.end()) of_device = devices_.insert(of_device, {product.device, {}});
      numbers_.push_back({product.device, of_device->products.size()});
      of_device->products.push_back(product);
    }
  }

  [[nodiscard]] Status begin() {
    for (const OfDevice& of_device : devices_) BRIMFUL_TRY_VOID(of_device.device->begin(of_device.products));
    return {};
  }
  [[nodiscard]] Status start(const Segment& segment) {
    for (std::size_t i = segment.rows_begin; i < segment.rows_end; ++i)
      BRIMFUL_TRY_VOID(numbers_[i].device->start(numbers_[i].index));
    return {};
  }
  [[nodiscard]] Status finish(const Segment& segment) {
    for (std::size_t i = segment.rows_begin; i < segment.rows_end; ++i)
      BRIMFUL_TRY_VOID(numbers_[i].device->finish(numbers_[i].index));
    return {};
  }
  void end() {
    for (const OfDevice& of_device : devices_) of_device.device->end();
  }

 private:
  struct OfDevice {
    RowDevice* device;
    std::vector<RowProduct> products;
  };
  struct Number {
    RowDevice* device;
    std::size_t index;
  };
  std::vector<OfDevice> devices_;
  std::vector<Number> numbers_;
};

}  // namespace

PassStatistics& PassStatistics::operator+=(const PassStatistics& other) {
  passes += other.passes;
  read += other.read;
  stalled += other.stalled;
  experts += other.experts;
  return *this;
}

Bytes PassExecutor::staging_bytes(std::uint64_t rows, std::uint64_t row_bytes) {
  if (rows == 0) return Bytes{};
  return RangeReader::memory_bytes(kRowReads, row_bytes) +
         Bytes{ids_bytes(rows) + align_up(rows * row_bytes, DiskFiles::kBlock)};
}

PassExecutor::PassExecutor(const DiskFiles& files, const WeightBufferType& weights, const WeightTable& table,
                           const RepackedLayout& layout, Memory memory, ReaderFactory make_reader,
                           std::unique_ptr<DiskReader> row_reader, std::unique_ptr<ExpertCache> experts,
                           Trace* trace, ComputeThreads& threads)
    : files_(files),
      weights_(weights),
      table_(table),
      layout_(layout),
      memory_(memory),
      row_reader_(std::move(row_reader)),
      experts_(std::move(experts)),
      arriving_(experts_ ? std::make_unique<ArrivingExperts>(*experts_, table, layout, memory.expert_shadows)
                         : nullptr),
      guesses_(experts_ ? std::make_unique<ExpertGuesses>(*experts_, table) : nullptr),
      trace_(trace),
      threads_(threads),
      stream_(files, std::move(make_reader), memory.arena, table.placement().ring, trace) {}

PassExecutor::~PassExecutor() = default;

Status PassExecutor::compute(ggml_backend_t inner, const ggml_cgraph& graph, BatchInvariance* split) {
  return checked(run_pass(inner, graph, split));
}

Status PassExecutor::checked(Status status) {
  if (!status) {
    for (RowDevice* const device : row_devices_) device->abandon();
    stream_.abandon();
    if (experts_) experts_->abandon();
  }
  return status;
}

Status PassExecutor::run_pass(ggml_backend_t inner, const ggml_cgraph& graph, BatchInvariance* split) {
  const auto begin = Trace::Clock::now();
  BRIMFUL_TRY_VOID(run(inner, graph, split));
  ++passes_;
  if (trace_ != nullptr) trace_->span(Trace::kPasses, "pass", begin);
  // The weights that this pass read may be those of another file: no tokens are better than wrong ones.
  return files_.check_unchanged();
}

Status PassExecutor::run(ggml_backend_t inner, const ggml_cgraph& graph, BatchInvariance* split, bool again) {
  BRIMFUL_TRY(CompiledPass program,
              CompiledPass::compile(graph, weights_, table_, layout_, split, row_devices_));
  BRIMFUL_TRY_VOID(stream_.begin(program.entries()));
  program.bind(stream_);
  RowProducts rows(program.row_products());
  BRIMFUL_TRY_VOID(rows.begin());
  for (Segment& segment : program.segments()) {
    BRIMFUL_TRY_VOID(stream_.wait(segment.entries_end));
    if (segment.gather) BRIMFUL_TRY_VOID(gather(*segment.gather));
    if (segment.step) BRIMFUL_TRY_VOID(begin_step(program, *segment.step, again));
    BRIMFUL_TRY_VOID(rows.start(segment));
    BRIMFUL_TRY_VOID(run_segment(inner, graph, segment));
    BRIMFUL_TRY_VOID(rows.finish(segment));
    stream_.release(segment.entries_end);
  }
  rows.end();
  stream_.end();
  return {};
}

Status PassExecutor::run_segment(ggml_backend_t inner, const ggml_cgraph& graph, const Segment& segment) {
  if (segment.experts.empty()) return execute(inner, graph, segment.nodes);
  return experts_->in_slots() ? execute_in_slots(inner, graph, segment)
                              : execute_in_tiles(inner, graph, segment);
}

Status PassExecutor::execute(ggml_backend_t inner, const ggml_cgraph& graph,
                             std::span<ggml_tensor* const> nodes) {
  if (nodes.empty()) return {};
  const auto begin = Trace::Clock::now();
  for (std::size_t done = 0; done < nodes.size();) {
    const bool fewer = threads_.has_fewer();
    const std::size_t count = threads_.most() == 1
                                  ? nodes.size()
                                  : length_of_stretch(nodes.subspan(done), threads_.on_trial(), fewer);
    if (fewer && depends_on_threads(*nodes[done])) {
      threads_.all_again(inner);
    } else {
      threads_.again(inner);
    }
    BRIMFUL_TRY_VOID(execute_stretch(inner, graph, nodes.subspan(done, count)));
    done += count;
  }
  if (trace_ != nullptr) trace_->span(Trace::kSegments, name_of(nodes, table_.profile()), begin);
  return {};
}

Status PassExecutor::execute_stretch(ggml_backend_t inner, const ggml_cgraph& graph,
                                     std::span<ggml_tensor* const> nodes) {
  ggml_cgraph part = graph;  // its hash set tells ggml which nodes it may fuse
  part.nodes = const_cast<ggml_tensor**>(nodes.data());
  part.n_nodes = static_cast<int>(nodes.size());
  part.n_leafs = 0;
  part.leafs = nullptr;
  part.uid = 0;
  const auto begin = ThreadCount::Time::clock::now();
  const ggml_status status = ggml_backend_graph_compute(inner, &part);
  threads_.computed(begin, ThreadCount::Time::clock::now());
  switch (status) {
    case GGML_STATUS_SUCCESS: return {};
    case GGML_STATUS_ABORTED: return fail(ErrorCode::kCancelled, "the computation was cancelled");
    case GGML_STATUS_ALLOC_FAILED:
      return fail(ErrorCode::kBudgetExceeded,
                  "no memory for the computation's working buffer; use a smaller ubatch");
    case GGML_STATUS_FAILED: break;
  }
  return fail(ErrorCode::kInternal, fmt::format("{} could not compute the graph", ggml_backend_name(inner)));
}

Status PassExecutor::gather(const Gather& gather) {
  const model::TensorInfo& tensor = table_.profile().tensors[gather.tensor];
  const std::uint64_t row_bytes = tensor.row_bytes().value;
  const auto count = static_cast<std::uint64_t>(gather.ids->ne[0]);
  const auto* const ids = static_cast<const std::int32_t*>(gather.ids->data);

  if (staging_bytes(count, row_bytes) > memory_.staging_size) {
    return fail(ErrorCode::kInternal,
                fmt::format("{} rows of '{}' are more than was planned for", count, tensor.name));
  }
  std::byte* const after_blocks = memory_.staging + RangeReader::memory_bytes(kRowReads, row_bytes).value;
  auto* const identity = reinterpret_cast<std::int32_t*>(after_blocks);
  std::byte* const rows = after_blocks + ids_bytes(count);
  gather.identity->data = identity;
  gather.rows->data = rows;

  RangeReader reader(*row_reader_, memory_.staging, kRowReads, row_bytes);
  std::optional<Error> error;
  const auto take_one = [&] {
    const RangeReader::Done done = reader.wait();
    if (!done.status) {
      error = done.status.error();
      return;
    }
    std::memcpy(rows + done.range.tag * row_bytes, done.bytes, row_bytes);
  };
  for (std::uint64_t i = 0; i < count && !error; ++i) {
    identity[i] = static_cast<std::int32_t>(i);
    if (ids[i] < 0 || ids[i] >= tensor.rows()) {
      error = Error{ErrorCode::kInternal, fmt::format("row {} of '{}' does not exist", ids[i], tensor.name)};
      break;
    }
    if (reader.full()) take_one();
    const std::uint64_t offset = tensor.offset + static_cast<std::uint64_t>(ids[i]) * row_bytes;
    gathered_ += reader.submit({tensor.file, offset, static_cast<std::uint32_t>(row_bytes), nullptr, i});
  }
  while (reader.in_flight() > 0) take_one();
  if (error) return std::unexpected(*error);
  return {};
}

PassStatistics PassExecutor::statistics() const {
  const StreamStatistics streamed = stream_.statistics();
  const ExpertStatistics experts = experts_ ? experts_->statistics() : ExpertStatistics{};
  return PassStatistics{passes_, streamed.read + gathered_ + experts.read, streamed.stalled + expert_stalls_,
                        experts};
}

}  // namespace brimful::tier
