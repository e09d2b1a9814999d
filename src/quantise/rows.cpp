#include "quantise/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/in_threads.h"
#include "base/visible_text.h"

namespace brimful::quantise {
namespace {

/// A piece of work for one thread has about so many elements.
constexpr std::int64_t kElements = 32 * 512;

std::int64_t rows_in_piece(const Rows& rows) {
  return std::max<std::int64_t>(1, (kElements + rows.width - 1) / rows.width);
}

std::unexpected<Error> invalid(const std::string& name) {
  return fail(ErrorCode::kCorrupt,
              fmt::format("{}: the tensor has invalid data, such as weights that are no numbers: fetch or "
                          "convert the model again",
                          visible_text(name)));
}

bool is_valid(ggml_type type, const std::byte* data, const Rows& rows) {
  return ggml_validate_row_data(type, data,
                                static_cast<std::size_t>(rows.count) * ggml_row_size(type, rows.width));
}

void convert(ggml_type type, const std::byte* from, float* out, std::int64_t n) {
  switch (type) {
    case GGML_TYPE_F32: std::memcpy(out, from, static_cast<std::size_t>(n) * sizeof(float)); return;
    case GGML_TYPE_F16: ggml_fp16_to_fp32_row(reinterpret_cast<const ggml_fp16_t*>(from), out, n); return;
    case GGML_TYPE_BF16: ggml_bf16_to_fp32_row(reinterpret_cast<const ggml_bf16_t*>(from), out, n); return;
    default: ggml_get_type_traits(type)->to_float(from, out, n);
  }
}

}  // namespace

Status check_rows(const std::string& name, ggml_type type, const std::byte* from, const Rows& rows) {
  if (!is_valid(type, from, rows)) return invalid(name);
  return {};
}

Status to_floats(const std::string& name, ggml_type type, const std::byte* from, const Rows& rows, float* out,
                 unsigned threads) {
  const bool plain = type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
  if (!plain && (!ggml_is_quantized(type) || ggml_get_type_traits(type)->to_float == nullptr))
    return fail(ErrorCode::kUnsupported, fmt::format("{}: weights of type {} cannot be quantised",
                                                     visible_text(name), ggml_type_name(type)));
  BRIMFUL_TRY_VOID(check_rows(name, type, from, rows));
  const std::int64_t step = rows_in_piece(rows);
  const std::size_t row = ggml_row_size(type, rows.width);
  in_threads((rows.count + step - 1) / step, threads, [&](std::int64_t piece) {
    const std::int64_t begin = piece * step;
    const std::int64_t n = std::min(step, rows.count - begin) * rows.width;
    convert(type, from + static_cast<std::size_t>(begin) * row, out + begin * rows.width, n);
  });
  return {};
}

Status quantise_rows(const std::string& name, ggml_type type, const float* from, const Rows& rows,
                     const float* importance, std::byte* out, unsigned threads) {
  const std::int64_t step = rows_in_piece(rows);
  const std::size_t row = ggml_row_size(type, rows.width);
  std::atomic<bool> valid = true;
  in_threads((rows.count + step - 1) / step, threads, [&](std::int64_t piece) {
    const std::int64_t end = std::min(rows.count, (piece + 1) * step);
    // A call stays inside one expert: each has its own importance.
    for (std::int64_t begin = piece * step; begin < end;) {
      const std::int64_t expert = (rows.first + begin) / rows.per_expert;
      const std::int64_t n = std::min(end - begin, (expert + 1) * rows.per_expert - rows.first - begin);
      std::byte* const to = out + static_cast<std::size_t>(begin) * row;
      ggml_quantize_chunk(type, from + begin * rows.width, to, 0, n, rows.width,
                          importance != nullptr ? importance + expert * rows.width : nullptr);
      if (!is_valid(type, to, {.first = 0, .count = n, .width = rows.width, .per_expert = n})) valid = false;
      begin += n;
    }
  });
  if (!valid) return invalid(name);
  return {};
}

}  // namespace brimful::quantise
