#include "tier/layout/repacked_layout.h"

#include <ggml-impl.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "tier/layout/q4_k_rows.h"

namespace brimful::tier {
namespace {

// Bytes of rows that a thread rearranges at once: they stay in a core's cache.
constexpr std::uint64_t kGroupBytes = 128ULL << 10;

/// Bytes of the rows that a thread rearranges at once: whole groups of kRows rows.
std::uint64_t group_bytes(std::uint64_t row_bytes) {
  const auto rows = static_cast<std::uint64_t>(RepackedLayout::kRows);
  const std::uint64_t groups = std::max<std::uint64_t>(1, kGroupBytes / (rows * row_bytes));
  return groups * rows * row_bytes;
}

/// ggml's CPU_REPACK buffer type, or null where there is none. Of the CPU's extra types, only this one keeps
/// the size of a weight and lets groups of rows be rearranged by themselves.
ggml_backend_buffer_type_t find_type(ggml_backend_dev_t cpu) {
  ggml_backend_reg_t const reg = ggml_backend_dev_backend_reg(cpu);
  const auto extra_types = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
      ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_get_extra_bufts"));
  if (extra_types == nullptr) return nullptr;
  for (ggml_backend_buffer_type_t* type = extra_types(cpu); type != nullptr && *type != nullptr; ++type) {
    if (std::string_view(ggml_backend_buft_name(*type)) == "CPU_REPACK") return *type;
  }
  return nullptr;
}

/// Some rows of a type, and what ggml makes of them.
struct Sample {
  std::uint64_t row_bytes = 0;
  std::vector<std::byte> rows;
  /// Empty where ggml does not repack the type on this CPU.
  std::vector<std::byte> repacked;
};

Sample sample_of(ggml_type type, const RepackedLayout& layout) {
  constexpr std::int64_t kColumns = 512, kRows = RepackedLayout::kRows;
  Sample out{.row_bytes = ggml_row_size(type, kColumns), .rows = {}, .repacked = {}};
  out.rows.resize(kRows * out.row_bytes);
  std::ranges::generate(out.rows, [state = 1U]() mutable {
    state = state * 1664525U + 1013904223U;
    return static_cast<std::byte>(state >> 24);
  });
  out.repacked.resize(out.rows.size());
  ggml_tensor weight = layout.dressed_rows(type, kColumns, kRows, out.repacked.data());
  if (weight.extra == nullptr) {
    out.repacked.clear();
  } else {
    ggml_backend_tensor_set(&weight, out.rows.data(), 0, out.rows.size());
  }
  return out;
}

/// Whether ggml's layout for Q4_K is the one that interleave_q4_k makes. ggml chooses the layout by the CPU,
/// so the function lets ggml rearrange some rows and compares.
bool interleaves_eight_rows_of_q4_k(const RepackedLayout& layout) {
  const Sample sample = sample_of(GGML_TYPE_Q4_K, layout);
  std::vector<std::byte> ours(sample.rows.size());
  interleave_q4_k(sample.rows.data(), RepackedLayout::kRows, sample.row_bytes, ours.data());
  return ours == sample.repacked;
}

/// Whether turn_back() makes the file's rows of what ggml makes of them on this CPU.
bool is_turned_back(ggml_type type, const RepackedLayout& layout) {
  if (!can_turn_back(type)) return false;
  const Sample sample = sample_of(type, layout);
  if (sample.repacked.empty()) return false;
  std::vector<std::byte> back(sample.rows.size());
  tier::turn_back({type, sample.row_bytes, sample.repacked.data()}, 0, back.size(), back.data());
  return back == sample.rows;
}

/// A node that calls `function` with `data` in each of the threads that compute.
ggml_tensor node_of(ggml_custom_op_t function, void* data, const char* name) {
  ggml_tensor node{};
  node.type = GGML_TYPE_F32;
  std::fill(std::begin(node.ne), std::end(node.ne), 1);
  std::fill(std::begin(node.nb), std::end(node.nb), sizeof(float));
  node.op = GGML_OP_CUSTOM;
  node.flags = GGML_TENSOR_FLAG_COMPUTE;
  const ggml_custom_op_params params{function, GGML_N_TASKS_MAX, data};
  static_assert(sizeof params <= sizeof node.op_params);
  std::memcpy(node.op_params, &params, sizeof params);
  ggml_set_name(&node, name);
  return node;
}

/// What the threads turn back together: each thread a stretch of whole groups.
struct TurningBack {
  InterleavedRows rows;
  std::uint64_t begin;
  std::uint64_t end;
  std::byte* out;

  static void compute(ggml_tensor*, int thread, int threads, void* data) {
    const auto& all = *static_cast<const TurningBack*>(data);
    const std::uint64_t group = kInterleavedRows * all.rows.row_bytes;
    const std::uint64_t first = all.begin / group;
    const std::uint64_t groups = (all.end + group - 1) / group - first;
    const auto bound = [&](int of) {
      const std::uint64_t at =
          (first + groups * static_cast<std::uint64_t>(of) / static_cast<std::uint64_t>(threads)) * group;
      return std::clamp(at, all.begin, all.end);
    };
    const std::uint64_t from = bound(thread);
    tier::turn_back(all.rows, from, bound(thread + 1) - from, all.out + (from - all.begin));
  }
};

Status compute_now(ggml_backend_t inner, std::span<ggml_tensor*> nodes) {
  ggml_cgraph graph{};
  graph.n_nodes = static_cast<int>(nodes.size());
  graph.nodes = nodes.data();
  if (ggml_backend_graph_compute(inner, &graph) == GGML_STATUS_SUCCESS) return {};
  return fail(ErrorCode::kCancelled, "the computation was cancelled");
}

}  // namespace

RepackedLayout::RepackedLayout(ggml_backend_dev_t cpu, int threads) : cpu_(cpu), threads_(threads) {
  if (ggml_backend_buffer_type_t const type = cpu != nullptr ? find_type(cpu) : nullptr) {
    buffer_ = ggml_backend_buft_alloc_buffer(type, 64);
    own_q4_k_ = interleaves_eight_rows_of_q4_k(*this);
    for (std::size_t i = 0; i < turns_back_.size(); ++i)
      turns_back_[i] = is_turned_back(static_cast<ggml_type>(i), *this);
  }
}

RepackedLayout::~RepackedLayout() { ggml_backend_buffer_free(buffer_); }

bool RepackedLayout::serves(const ggml_tensor* node) const {
  if (buffer_ == nullptr || (node->op != GGML_OP_MUL_MAT && node->op != GGML_OP_MUL_MAT_ID)) return false;
  if (node->src[0]->view_src != nullptr || kept_[static_cast<std::size_t>(node->src[0]->type)]) return false;
  ggml_tensor weight = *node->src[0];
  weight.buffer = buffer_;
  ggml_tensor op = *node;
  op.src[0] = &weight;
  return ggml_backend_dev_supports_op(cpu_, &op);
}

void RepackedLayout::dress(ggml_tensor& shadow) const {
  BRIMFUL_CHECK(buffer_ != nullptr);
  shadow.buffer = buffer_;
  BRIMFUL_CHECK(ggml_backend_buffer_init_tensor(buffer_, &shadow) == GGML_STATUS_SUCCESS);
}

ggml_tensor RepackedLayout::dressed_rows(ggml_type type, std::int64_t columns, std::int64_t rows,
                                         std::byte* data) const {
  ggml_tensor weight{};
  weight.type = type;
  const std::int64_t shape[] = {columns, rows, 1, 1};
  std::ranges::copy(shape, weight.ne);
  weight.nb[0] = ggml_type_size(type);
  weight.nb[1] = ggml_row_size(type, columns);
  weight.nb[2] = weight.nb[3] = weight.nb[1] * static_cast<std::size_t>(rows);
  weight.data = data;
  dress(weight);
  return weight;
}

ggml_tensor RepackedLayout::repacking(ggml_tensor* weight) const {
  ggml_tensor node = node_of(compute, const_cast<RepackedLayout*>(this), "repacking");
  node.src[0] = weight;
  return node;
}

Status RepackedLayout::repack(ggml_backend_t inner, ggml_tensor& weight) const {
  ggml_tensor node = repacking(&weight);
  ggml_tensor* nodes[] = {&node};
  return compute_now(inner, nodes);
}

Status RepackedLayout::repack(ggml_backend_t inner, const WeightTable& table,
                              std::span<const FreshRows> fresh) const {
  std::vector<ggml_tensor> tensors(2 * fresh.size());  // a weight, and the node that rearranges it
  std::vector<ggml_tensor*> nodes;
  for (const FreshRows& rows : fresh) {
    if (!table.repacked(rows.tensor)) continue;
    const model::TensorInfo& info = table.profile().tensors[rows.tensor];
    ggml_tensor& weight = tensors[2 * nodes.size()];
    weight = dressed_rows(info.type, info.shape[0], rows.rows, rows.data);
    ggml_tensor& node = tensors[2 * nodes.size() + 1];
    node = repacking(&weight);
    nodes.push_back(&node);
  }
  return nodes.empty() ? Status{} : compute_now(inner, nodes);
}

Status RepackedLayout::turn_back(ggml_backend_t inner, const InterleavedRows& rows, std::uint64_t begin,
                                 std::uint64_t size, std::byte* out) const {
  TurningBack all{rows, begin, begin + size, out};
  ggml_tensor node = node_of(TurningBack::compute, &all, "turning back");
  ggml_tensor* nodes[] = {&node};
  return compute_now(inner, nodes);
}

Bytes RepackedLayout::scratch_bytes(std::uint64_t row_bytes) const {
  const std::uint64_t least = std::max(kGroupBytes, static_cast<std::uint64_t>(kRows) * row_bytes);
  return Bytes{static_cast<std::uint64_t>(threads_) * align_up(least, std::uint64_t{4096})};
}

void RepackedLayout::use_scratch(std::byte* scratch, Bytes size) {
  scratch_ = scratch;
  scratch_of_one_ = size.value / static_cast<std::uint64_t>(threads_);
}

void RepackedLayout::compute(ggml_tensor* node, int thread, int threads, void* layout) {
  const auto& self = *static_cast<const RepackedLayout*>(layout);
  ggml_tensor group = *node->src[0];
  const std::uint64_t row_bytes = group.nb[1];
  const auto step = static_cast<std::int64_t>(group_bytes(row_bytes) / row_bytes);
  const std::int64_t rows = ggml_nrows(&group);
  BRIMFUL_CHECK(group_bytes(row_bytes) <= self.scratch_of_one_ && thread < self.threads_);
  std::byte* const scratch = self.scratch_ + static_cast<std::uint64_t>(thread) * self.scratch_of_one_;
  auto* const first = static_cast<std::byte*>(group.data);
  group.ne[2] = group.ne[3] = 1;
  for (std::int64_t row = thread * step; row < rows; row += threads * step) {
    group.ne[1] = std::min(step, rows - row);
    group.nb[2] = group.nb[3] = row_bytes * static_cast<std::uint64_t>(group.ne[1]);
    group.data = first + static_cast<std::uint64_t>(row) * row_bytes;
    std::memcpy(scratch, group.data, group.nb[2]);
    if (group.type == GGML_TYPE_Q4_K && self.own_q4_k_) {
      interleave_q4_k(scratch, group.ne[1], row_bytes, static_cast<std::byte*>(group.data));
    } else {
      ggml_backend_tensor_set(&group, scratch, 0, group.nb[2]);
    }
  }
}

}  // namespace brimful::tier
