#include "tier/host/kernel_probe.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace brimful::tier {
namespace {

constexpr std::int64_t kRows = 32;

struct ContextFree {
  void operator()(ggml_context* context) const { ggml_free(context); }
};

/// `count` values that are about normally distributed, and the same in every run.
std::vector<float> some_floats(std::size_t count) {
  std::vector<float> out(count);
  std::uint32_t state = 1;
  for (float& value : out) {
    value = 0;
    for (int i = 0; i < 4; ++i) {
      state = state * 1664525U + 1013904223U;
      value += static_cast<float>(state >> 8) / static_cast<float>(1U << 24) - 0.5F;
    }
  }
  return out;
}

/// Some rows of a weight, in the layout of its kernel.
struct Sample {
  BatchInvariance::Kernel kernel;
  const RepackedLayout* layout;
  std::vector<std::byte> rows;
};

/// Multiplies the sample with `columns`, which have the length of its rows. Returns [rows, columns], or
/// nothing where ggml fails.
std::vector<float> product(ggml_backend_t device, Sample& sample, std::span<float> columns) {
  const ggml_op op = sample.kernel.op;
  const ggml_type type = sample.kernel.type;
  const std::int64_t length = sample.kernel.row_length;
  const std::unique_ptr<ggml_context, ContextFree> context(
      ggml_init({5 * ggml_tensor_overhead() + ggml_graph_overhead_custom(5, false), nullptr, true}));
  const auto rows = static_cast<std::int64_t>(sample.rows.size() / ggml_row_size(type, length));
  const std::int64_t count = static_cast<std::int64_t>(columns.size()) / length;
  ggml_tensor* const a = ggml_new_tensor_3d(context.get(), type, length, rows, 1);
  std::vector<std::int32_t> first_expert(static_cast<std::size_t>(count), 0);
  ggml_tensor* b = nullptr;
  ggml_tensor* result = nullptr;
  if (op == GGML_OP_MUL_MAT_ID) {
    b = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, length, 1, count);
    ggml_tensor* const ids = ggml_new_tensor_2d(context.get(), GGML_TYPE_I32, 1, count);
    ids->data = first_expert.data();
    result = ggml_mul_mat_id(context.get(), a, b, ids);
  } else {
    b = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, length, count);
    result = ggml_mul_mat(context.get(), a, b);
  }
  std::vector<float> out(static_cast<std::size_t>(ggml_nelements(result)));
  a->data = sample.rows.data();
  b->data = columns.data();
  result->data = out.data();
  if (sample.kernel.repacked) sample.layout->dress(*a);
  ggml_cgraph* const graph = ggml_new_graph_custom(context.get(), 5, false);
  ggml_build_forward_expand(graph, result);
  if (ggml_backend_graph_compute(device, graph) != GGML_STATUS_SUCCESS) out.clear();
  return out;
}

/// Reads rows from the middle of the weight, or of its first expert.
Sample read_sample(const BatchInvariance::Kernel& kernel, const ggml_tensor* weight,
                   const RepackedLayout& layout) {
  const std::int64_t count = std::min(kRows, weight->ne[1]);
  const std::int64_t first = (weight->ne[1] - count) / 2 / RepackedLayout::kRows * RepackedLayout::kRows;
  Sample sample{kernel, &layout, std::vector<std::byte>(static_cast<std::size_t>(count) * weight->nb[1])};
  ggml_backend_tensor_get(weight, sample.rows.data(), static_cast<std::size_t>(first) * weight->nb[1],
                          sample.rows.size());
  if (!kernel.repacked) return sample;
  const std::vector<std::byte> plain = sample.rows;
  ggml_tensor rows = layout.dressed_rows(kernel.type, kernel.row_length, count, sample.rows.data());
  ggml_backend_tensor_set(&rows, plain.data(), 0, plain.size());
  return sample;
}

bool can_tell(float value) { return std::isfinite(value) && value != 0; }

}  // namespace

std::int64_t tokens_with_equal_bits(ggml_backend_t device, const BatchInvariance::Kernel& kernel,
                                    const ggml_tensor* weight, const RepackedLayout& layout,
                                    std::int64_t most) {
  const auto length = static_cast<std::size_t>(kernel.row_length);
  Sample sample = read_sample(kernel, weight, layout);
  if (sample.rows.empty()) return 1;
  std::vector<float> columns = some_floats(length * static_cast<std::size_t>(most));
  std::vector<float> alone;
  for (std::size_t i = 0; i < static_cast<std::size_t>(most); ++i) {
    const std::vector<float> out = product(device, sample, std::span(columns).subspan(i * length, length));
    if (out.empty()) return 1;
    alone.insert(alone.end(), out.begin(), out.end());
  }
  if (!std::ranges::all_of(alone, can_tell)) return 1;
  for (std::int64_t n = 2; n <= most; ++n) {
    const std::vector<float> out =
        product(device, sample, std::span(columns).first(static_cast<std::size_t>(n) * length));
    if (out.empty() || std::memcmp(out.data(), alone.data(), out.size() * sizeof(float)) != 0) return n - 1;
  }
  return most;
}

}  // namespace brimful::tier
