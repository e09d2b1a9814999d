#pragma once

#include <ggml-backend-impl.h>
#include <ggml-impl.h>

#include <span>

#include "base/result.h"
#include "tier/weights/weight_table.h"

namespace brimful::tier {

/// The order in which ggml-cpu's fastest kernels want the rows of a weight (its CPU_REPACK buffer type): the
/// blocks of 4, 8 or 16 neighbouring rows interleaved. It takes no more bytes than the file's order, and
/// those groups do not touch one another, so a unit is rearranged by itself, in place.
/// A weight has this layout wherever it lies, or nowhere: kernels, and so tokens, do not depend on the
/// budget. Threading: what rearranges takes its scratch from the thread's number; the rest is read-only.
class RepackedLayout {
 public:
  /// What is rearranged by itself begins at a multiple of this many rows.
  static constexpr std::int64_t kRows = 16;

  /// `cpu`: ggml's CPU device. Where it has no such layout, or is null, none is ever served.
  RepackedLayout(ggml_backend_dev_t cpu, int threads);
  ~RepackedLayout();
  RepackedLayout(const RepackedLayout&) = delete;
  RepackedLayout& operator=(const RepackedLayout&) = delete;

  /// Whether `node` can be computed with its src[0], a whole weight, in this layout. What llama.cpp asks,
  /// too, when it chooses.
  [[nodiscard]] bool serves(const ggml_tensor* node) const;

  /// Makes kernels take `shadow`, a copy of a weight that is served, for one in this layout.
  void dress(ggml_tensor& shadow) const;

  /// A dressed weight of `rows` rows of `columns` values: what ggml writes to it comes to lie at `data` in
  /// this layout.
  [[nodiscard]] ggml_tensor dressed_rows(ggml_type type, std::int64_t columns, std::int64_t rows,
                                         std::byte* data) const;

  /// Whether `shadow` was dressed.
  [[nodiscard]] bool dressed(const ggml_tensor& shadow) const {
    return buffer_ != nullptr && shadow.buffer == buffer_;
  }

  /// A node that rearranges in place what `weight`, which is dressed, shows when the node is computed.
  /// `weight` and this layout outlive it.
  [[nodiscard]] ggml_tensor repacking(ggml_tensor* weight) const;

  /// Rearranges now, in place, on `cpu`'s stream `inner`, the rows of those weights that `table` has in this
  /// layout. Errors: kCancelled.
  [[nodiscard]] Status repack(ggml_backend_t inner, const WeightTable& table,
                              std::span<const FreshRows> fresh) const;

  /// Scratch for rows of this size. The caller hands it over before any node is computed.
  [[nodiscard]] Bytes scratch_bytes(std::uint64_t row_bytes) const;
  void use_scratch(std::byte* scratch, Bytes size);

 private:
  static void compute(ggml_tensor* node, int thread, int threads, void* layout);

  ggml_backend_dev_t const cpu_;
  const int threads_;
  ggml_backend_buffer_t buffer_ = nullptr;  // of the layout's type; what is in it is never used
  bool own_q4_k_ = false;                   // ggml's order of Q4_K is the one that interleave_q4_k makes
  std::byte* scratch_ = nullptr;
  std::uint64_t scratch_of_one_ = 0;
};

}  // namespace brimful::tier
