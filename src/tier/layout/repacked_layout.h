#pragma once

#include <ggml-backend.h>

#include <array>
#include <span>

#include "base/result.h"
#include "tier/layout/file_order.h"
#include "tier/weights/weight_table.h"

namespace brimful::tier {

/// The layout in which ggml-cpu's fastest kernels want the rows of a weight (its CPU_REPACK buffer type): the
/// blocks of 4, 8 or 16 neighbouring rows are interleaved. It takes no more bytes than the file's layout, and
/// the groups of rows do not touch one another. So a unit is rearranged by itself, in place.
/// A weight has this layout wherever it lies, or nowhere: kernels, and so tokens, do not depend on the
/// budget.
/// Threading: each thread that rearranges has scratch memory of its own, chosen by the thread's number;
/// everything else is read-only.
class RepackedLayout {
 public:
  /// A stretch of rows that is rearranged by itself begins at a multiple of this many rows.
  static constexpr std::int64_t kRows = 16;

  /// `cpu` is ggml's CPU device. Where it has no such layout, or `cpu` is null, serves() is always false.
  /// `threads` is the largest number of threads that rearrange at once.
  RepackedLayout(ggml_backend_dev_t cpu, int threads);
  ~RepackedLayout();
  RepackedLayout(const RepackedLayout&) = delete;
  RepackedLayout& operator=(const RepackedLayout&) = delete;

  /// Whether rows of this type in this layout can be turned back to the file's, so that they can be sent to
  /// another device. False where ggml does not repack the type on this CPU.
  [[nodiscard]] bool turns_back(ggml_type type) const { return turns_back_[static_cast<std::size_t>(type)]; }
  /// Keeps all weights of this type in the file's layout: serves() is false for them. Call it before serves()
  /// is asked for the first time.
  void keep_file_order(ggml_type type) { kept_[static_cast<std::size_t>(type)] = true; }

  /// Whether serves() may be true for weights of this type. True for more types than those that ggml repacks.
  [[nodiscard]] bool may_serve(ggml_type type) const {
    return buffer_ != nullptr && !kept_[static_cast<std::size_t>(type)];
  }

  /// Whether `node` can be computed with its src[0], a whole weight, in this layout. llama.cpp asks ggml the
  /// same question when it chooses a buffer type.
  [[nodiscard]] bool serves(const ggml_tensor* node) const;

  /// Makes ggml's kernels take `shadow` for a weight in this layout. `shadow` is a copy of the tensor of a
  /// weight that is served. Requires: the CPU device has the layout.
  void dress(ggml_tensor& shadow) const;

  /// A dressed tensor of `rows` rows with `columns` values each. What ggml_backend_tensor_set writes to it
  /// comes to lie at `data` in this layout.
  [[nodiscard]] ggml_tensor dressed_rows(ggml_type type, std::int64_t columns, std::int64_t rows,
                                         std::byte* data) const;

  /// Whether dress() was called for `shadow`.
  [[nodiscard]] bool dressed(const ggml_tensor& shadow) const {
    return buffer_ != nullptr && shadow.buffer == buffer_;
  }

  /// A graph node that rearranges the rows of `weight`, which is dressed, in place. It uses the data pointer
  /// that `weight` has when the node is computed. `weight` and this object must outlive the node.
  [[nodiscard]] ggml_tensor repacking(ggml_tensor* weight) const;

  /// Rearranges the rows of `weight`, which is dressed, in place, now, with the CPU backend `inner`. Errors:
  /// kCancelled.
  [[nodiscard]] Status repack(ggml_backend_t inner, ggml_tensor& weight) const;
  /// Rearranges rows in place, now, with the CPU backend `inner`: those of `fresh` whose weights `table`
  /// keeps in this layout. Errors: kCancelled.
  [[nodiscard]] Status repack(ggml_backend_t inner, const WeightTable& table,
                              std::span<const FreshRows> fresh) const;

  /// Turns rows back to the file's layout, now, with the threads of the CPU backend `inner`. Otherwise as
  /// tier::turn_back(). Requires: turns_back(rows.type). Errors: kCancelled.
  [[nodiscard]] Status turn_back(ggml_backend_t inner, const InterleavedRows& rows, std::uint64_t begin,
                                 std::uint64_t size, std::byte* out) const;

  /// Scratch memory that all threads together need for rows of `row_bytes` bytes.
  [[nodiscard]] Bytes scratch_bytes(std::uint64_t row_bytes) const;
  /// Sets the scratch memory. It must be set before any node is computed, and stay valid while nodes are
  /// computed.
  void use_scratch(std::byte* scratch, Bytes size);

 private:
  static void compute(ggml_tensor* node, int thread, int threads, void* layout);

  ggml_backend_dev_t const cpu_;
  const int threads_;
  // A buffer of the layout's type; its memory is never used. Null where there is no such layout.
  ggml_backend_buffer_t buffer_ = nullptr;
  // Whether interleave_q4_k makes the layout that ggml has for Q4_K on this CPU.
  bool own_q4_k_ = false;
  // These are indexed by type.
  std::array<bool, GGML_TYPE_COUNT> turns_back_{};
  std::array<bool, GGML_TYPE_COUNT> kept_{};
  std::byte* scratch_ = nullptr;
  // Bytes of scratch memory for each thread.
  std::uint64_t scratch_of_one_ = 0;
};

}  // namespace brimful::tier
