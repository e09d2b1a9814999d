#include "tier/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace strata::tier {
namespace {

/// Bytes to read one row through whole blocks, wherever it begins.
constexpr std::uint64_t bounce_bytes(std::uint64_t row_bytes) {
  return align_up(row_bytes, DiskFiles::kBlock) + DiskFiles::kBlock;
}

constexpr std::uint64_t ids_bytes(std::uint64_t rows) {
  return align_up(rows * sizeof(std::int32_t), DiskFiles::kBlock);
}

/// The first weight that a run uses: its shadow has its name.
std::string_view name_of(std::span<ggml_tensor* const> nodes, const model::ModelProfile& profile) {
  for (const ggml_tensor* node : nodes) {
    for (const ggml_tensor* src : node->src) {
      const model::TensorInfo* const weight = src != nullptr ? profile.find(src->name) : nullptr;
      if (weight != nullptr) return weight->name;
    }
  }
  return "run";
}

}  // namespace

Bytes Executor::staging_bytes(std::uint64_t rows, std::uint64_t row_bytes) {
  if (rows == 0) return Bytes{};
  return Bytes{kRowReads * bounce_bytes(row_bytes) + ids_bytes(rows) +
               align_up(rows * row_bytes, DiskFiles::kBlock)};
}

Executor::Executor(const DiskFiles& files, const WeightBufferType& weights, const WeightTable& table,
                   const RepackedLayout& layout, Memory memory, ReaderFactory make_reader,
                   std::unique_ptr<DiskReader> row_reader, std::unique_ptr<ExpertCache> experts, Trace* trace)
    : files_(files),
      weights_(weights),
      table_(table),
      layout_(layout),
      memory_(memory),
      row_reader_(std::move(row_reader)),
      experts_(std::move(experts)),
      trace_(trace),
      stream_(files, std::move(make_reader), memory.arena, table.placement().ring, trace) {}

Status Executor::compute(ggml_backend_t inner, const ggml_cgraph& graph, const TokenSplit* split) {
  Status status = run_pass(inner, graph, split);
  if (!status) {
    stream_.abandon();
    if (experts_) experts_->abandon();
  }
  return status;
}

Status Executor::run_pass(ggml_backend_t inner, const ggml_cgraph& graph, const TokenSplit* split) {
  const auto begin = Trace::Clock::now();
  STRATA_TRY(PassProgram program, PassProgram::compile(graph, weights_, table_, layout_, split));
  STRATA_TRY_VOID(stream_.begin(program.entries()));
  program.bind(stream_);

  for (Run& run : program.runs()) {
    STRATA_TRY_VOID(stream_.wait(run.entries_end));
    if (run.gather) STRATA_TRY_VOID(gather(*run.gather));
    if (run.step) STRATA_TRY_VOID(begin_step(inner, program, *run.step));
    if (run.experts.empty()) {
      STRATA_TRY_VOID(execute(inner, graph, run.nodes));
    } else if (experts_->in_slots()) {
      STRATA_TRY_VOID(execute_in_slots(inner, graph, run));
    } else {
      STRATA_TRY_VOID(execute_in_strips(inner, graph, run));
    }
    stream_.release(run.entries_end);
  }
  stream_.end();
  ++passes_;
  if (trace_ != nullptr) trace_->span(Trace::kPasses, "pass", begin);
  // Weights read in this pass may be another file's: better no tokens than wrong ones.
  return files_.check_unchanged();
}

Status Executor::execute(ggml_backend_t inner, const ggml_cgraph& graph,
                         std::span<ggml_tensor* const> nodes) {
  if (nodes.empty()) return {};
  const auto begin = Trace::Clock::now();
  ggml_cgraph part = graph;  // its hash set tells ggml which nodes it may fuse
  part.nodes = const_cast<ggml_tensor**>(nodes.data());
  part.n_nodes = static_cast<int>(nodes.size());
  part.n_leafs = 0;
  part.leafs = nullptr;
  part.uid = 0;
  const ggml_status status = ggml_backend_graph_compute(inner, &part);
  if (trace_ != nullptr) trace_->span(Trace::kRuns, name_of(nodes, table_.profile()), begin);
  switch (status) {
    case GGML_STATUS_SUCCESS: return {};
    case GGML_STATUS_ABORTED: return fail(ErrorCode::kCancelled, "the computation was cancelled");
    case GGML_STATUS_ALLOC_FAILED:
      return fail(ErrorCode::kBudgetExceeded,
                  "no memory for the computation's working buffer; use a smaller -ub");
    case GGML_STATUS_FAILED: break;
  }
  return fail(ErrorCode::kInternal, fmt::format("{} could not compute the graph", ggml_backend_name(inner)));
}

Status Executor::gather(const Gather& gather) {
  const model::TensorInfo& tensor = table_.profile().tensors[gather.tensor];
  const std::uint64_t row_bytes = tensor.row_bytes().value;
  const auto count = static_cast<std::uint64_t>(gather.ids->ne[0]);
  const auto* const ids = static_cast<const std::int32_t*>(gather.ids->data);

  if (staging_bytes(count, row_bytes) > memory_.staging_size) {
    return fail(ErrorCode::kInternal,
                fmt::format("{} rows of '{}' are more than was planned for", count, tensor.name));
  }
  std::byte* const bounce = memory_.staging;
  auto* const identity = reinterpret_cast<std::int32_t*>(bounce + kRowReads * bounce_bytes(row_bytes));
  std::byte* const rows = reinterpret_cast<std::byte*>(identity) + ids_bytes(count);
  gather.identity->data = identity;
  gather.rows->data = rows;

  const auto row_begin = [&](std::uint64_t i) {
    return tensor.offset + static_cast<std::uint64_t>(ids[i]) * row_bytes;
  };
  std::vector<std::uint64_t> row_of(kRowReads);
  std::vector<std::size_t> free_blocks;
  for (std::size_t i = 0; i < std::min(kRowReads, row_reader_->depth()); ++i) free_blocks.push_back(i);
  std::optional<Error> error;
  const auto take_one = [&] {
    const BlockDone done = row_reader_->wait();
    free_blocks.push_back(done.tag);
    if (!done.status) {
      error = done.status.error();
      return;
    }
    const std::uint64_t row = row_of[done.tag];
    const std::byte* const block = bounce + done.tag * bounce_bytes(row_bytes);
    std::memcpy(rows + row * row_bytes, block + row_begin(row) % DiskFiles::kBlock, row_bytes);
  };
  for (std::uint64_t i = 0; i < count && !error; ++i) {
    identity[i] = static_cast<std::int32_t>(i);
    if (ids[i] < 0 || ids[i] >= tensor.rows()) {
      error = Error{ErrorCode::kInternal, fmt::format("row {} of '{}' does not exist", ids[i], tensor.name)};
      break;
    }
    if (free_blocks.empty()) take_one();
    const std::size_t block = free_blocks.back();
    free_blocks.pop_back();
    row_of[block] = i;
    const std::uint64_t begin = align_down(row_begin(i), DiskFiles::kBlock);
    const std::uint64_t size = align_up(row_begin(i) + row_bytes, DiskFiles::kBlock) - begin;
    row_reader_->submit(BlockRead{tensor.file, begin, static_cast<std::uint32_t>(size),
                                  bounce + block * bounce_bytes(row_bytes), block});
    gathered_ += Bytes{size};
  }
  while (row_reader_->in_flight() > 0) take_one();
  if (error) return std::unexpected(*error);
  return {};
}

PassStatistics Executor::statistics() const {
  const StreamStatistics streamed = stream_.statistics();
  const ExpertStatistics experts = experts_ ? experts_->statistics() : ExpertStatistics{};
  return PassStatistics{passes_, streamed.read + gathered_ + experts.read, streamed.stalled + expert_stalls_,
                        experts};
}

}  // namespace strata::tier
