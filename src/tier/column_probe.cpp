#include "tier/column_probe.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace strata::tier {
namespace {

constexpr std::int64_t kRows = 32;

struct ContextFree {
  void operator()(ggml_context* context) const { ggml_free(context); }
};

/// About normal, the same in every run.
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

/// `rows` of `type` times `columns`, all of the same length: [rows, columns], empty where ggml fails.
std::vector<float> product(ggml_backend_t device, ggml_type type, std::vector<std::byte>& rows,
                           std::int64_t length, std::span<float> columns) {
  const std::unique_ptr<ggml_context, ContextFree> context(
      ggml_init({4 * ggml_tensor_overhead() + ggml_graph_overhead_custom(4, false), nullptr, true}));
  const auto count = static_cast<std::int64_t>(rows.size() / ggml_row_size(type, length));
  ggml_tensor* const a = ggml_new_tensor_2d(context.get(), type, length, count);
  ggml_tensor* const b = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, length,
                                            static_cast<std::int64_t>(columns.size()) / length);
  ggml_tensor* const result = ggml_mul_mat(context.get(), a, b);
  std::vector<float> out(static_cast<std::size_t>(ggml_nelements(result)));
  a->data = rows.data();
  b->data = columns.data();
  result->data = out.data();
  ggml_cgraph* const graph = ggml_new_graph_custom(context.get(), 4, false);
  ggml_build_forward_expand(graph, result);
  if (ggml_backend_graph_compute(device, graph) != GGML_STATUS_SUCCESS) out.clear();
  return out;
}

bool can_tell(float value) { return std::isfinite(value) && value != 0; }

}  // namespace

std::int64_t columns_with_equal_bits(ggml_backend_t device, const ggml_tensor* weight, std::int64_t most) {
  const std::int64_t length = weight->ne[0];
  const std::int64_t count = std::min(kRows, weight->ne[1]);
  std::vector<std::byte> rows(static_cast<std::size_t>(count) * weight->nb[1]);
  const auto middle = static_cast<std::size_t>((weight->ne[1] - count) / 2);
  ggml_backend_tensor_get(weight, rows.data(), middle * weight->nb[1], rows.size());

  std::vector<float> columns = some_floats(static_cast<std::size_t>(length * most));
  std::vector<float> alone;
  for (std::int64_t i = 0; i < most; ++i) {
    const auto column =
        std::span(columns).subspan(static_cast<std::size_t>(i * length), static_cast<std::size_t>(length));
    const std::vector<float> out = product(device, weight->type, rows, length, column);
    alone.insert(alone.end(), out.begin(), out.end());
  }
  if (alone.size() != static_cast<std::size_t>(count * most) || !std::ranges::all_of(alone, can_tell))
    return 1;
  for (std::int64_t n = 2; n <= most; ++n) {
    const std::vector<float> out = product(device, weight->type, rows, length,
                                           std::span(columns).first(static_cast<std::size_t>(n * length)));
    if (out.empty() || std::memcmp(out.data(), alone.data(), out.size() * sizeof(float)) != 0) return n - 1;
  }
  return most;
}

}  // namespace strata::tier
