#pragma once

#include <ggml-backend-impl.h>
#include <ggml-impl.h>

#include <deque>
#include <optional>
#include <vector>

#include "tier/host/batch_invariance.h"
#include "tier/layout/repacked_layout.h"
#include "tier/stream/pass_stream.h"
#include "tier/weights/weight_buffer.h"
#include "tier/weights/weight_table.h"

namespace brimful::tier {

/// Rows of a tensor that a GET_ROWS node picks, to be read from disk when their ids are known.
struct Gather {
  std::uint32_t tensor = 0;
  const ggml_tensor* ids = nullptr;  ///< I32 [n], in host memory
  ggml_tensor* rows = nullptr;       ///< shadow table: [row length, n]
  ggml_tensor* identity = nullptr;   ///< shadow ids: 0 .. n-1
};

/// What one choice of a router picks: known when the segment begins in which it is used first.
struct ExpertStep {
  std::uint32_t group = 0;
  const ggml_tensor* ids = nullptr;     ///< I32 [used, tokens], in host memory
  ggml_tensor* numbered = nullptr;      ///< shadow ids, contiguous
  std::vector<std::uint32_t> parts;     ///< in the order of the graph
  const ggml_tensor* input = nullptr;   ///< F32 [row length, 1, tokens]: what the router saw, most often
  std::optional<std::uint32_t> router;  ///< the weight that made the ids of this step, where it can be told
};

/// A MUL_MAT_ID on a part of an expert group.
struct ExpertNode {
  std::size_t step = 0;  ///< in CompiledPass::steps()
  std::size_t node = 0;  ///< in Segment::nodes
  std::uint32_t part = 0;
  ggml_tensor* weight = nullptr;  ///< shadow; its data, strides and count are the step's
};

/// A stretch of the graph handed to the inner device in one call.
struct Segment {
  std::vector<ggml_tensor*> nodes;
  std::size_t entries_end = 0;      ///< streamed entries before this must be in their slots
  std::optional<Gather> gather;     ///< done first
  std::optional<std::size_t> step;  ///< begun before the nodes are computed
  std::vector<ExpertNode> experts;  ///< in the order of the nodes
};

/// One graph, turned into what the tier executes: weights replaced by shadow tensors that point at the arena,
/// a new segment before each streamed weight, tensors kept in several units computed unit by unit.
/// The graph's own nodes are changed while a program lives, and restored when it ends; the graph must outlive
/// it.
class CompiledPass {
 public:
  CompiledPass() = default;
  CompiledPass(CompiledPass&& other) noexcept { *this = std::move(other); }
  CompiledPass& operator=(CompiledPass&& other) noexcept;
  ~CompiledPass() { restore(); }

  /// With `split`, each token of the graph is computed as if it were the only one.
  /// Errors: kUnsupported when the graph uses a weight in a way that its placement does not allow, or cannot
  /// be taken apart by tokens.
  [[nodiscard]] static Result<CompiledPass> compile(const ggml_cgraph& graph, const WeightBufferType& weights,
                                                    const WeightTable& table, const RepackedLayout& layout,
                                                    const BatchInvariance* split = nullptr);

  /// Heap that a program takes for each unit, at most. `repacked`: some weights are.
  [[nodiscard]] static Bytes bytes_per_unit(bool repacked);

  /// Points the shadows of streamed weights at their slots. Requires: a piece of entries() has begun.
  void bind(const PassStream& stream);

  [[nodiscard]] const std::vector<StreamEntry>& entries() const { return entries_; }
  [[nodiscard]] std::deque<Segment>& segments() { return segments_; }
  [[nodiscard]] const std::vector<ExpertStep>& steps() const { return steps_; }

 private:
  friend class PassCompiler;
  struct Patch {
    ggml_tensor* node;
    int src;
    ggml_tensor* original;
  };
  struct Binding {
    ggml_tensor* shadow;
    std::size_t entry;
    std::uint64_t offset;  // in the slot
  };
  void restore();

  std::deque<Segment> segments_;  // of many small segments, half a vector could be empty
  std::vector<StreamEntry> entries_;
  std::vector<ExpertStep> steps_;
  std::deque<ggml_tensor> shadows_;  // addresses stay
  std::vector<Patch> patches_;
  std::vector<Binding> bindings_;
};

/// What one graph asks of the weights and of working memory.
struct GraphNeeds {
  std::vector<plan::TensorUse> uses;  ///< in order of first use
  std::uint64_t gather_rows = 0;      ///< most rows picked by one GET_ROWS
  std::uint64_t gather_row_bytes = 0;
  std::uint64_t expert_ids = 0;          ///< most ids of one MUL_MAT_ID
  std::uint64_t repacked_row_bytes = 0;  ///< of the widest weight that is repacked
};

/// Records how `graph` uses the weights. Pure but for reading the graph.
[[nodiscard]] GraphNeeds needs_of(const ggml_cgraph& graph, const WeightBufferType& weights,
                                  const RepackedLayout& layout);

/// Adds what another graph needs.
void merge(GraphNeeds& needs, const GraphNeeds& more);

}  // namespace brimful::tier
