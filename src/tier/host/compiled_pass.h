#pragma once

#include <ggml.h>

#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "tier/host/batch_invariance.h"
#include "tier/host/row_device.h"
#include "tier/layout/repacked_layout.h"
#include "tier/stream/pass_stream.h"
#include "tier/weights/weight_buffer.h"
#include "tier/weights/weight_table.h"

namespace brimful::tier {

/// Rows of a tensor that a GET_ROWS node picks. They are read from disk when their ids are known.
struct Gather {
  /// Index into ModelProfile::tensors.
  std::uint32_t tensor = 0;
  /// The rows' numbers: I32 [n], in host memory.
  const ggml_tensor* ids = nullptr;
  /// Shadow of the table: [row length, n]. It holds only the picked rows.
  ggml_tensor* rows = nullptr;
  /// Shadow of the ids: 0 .. n-1.
  ggml_tensor* identity = nullptr;
};

/// One choice of a router, and what the graph computes with it. The choice is known when the segment begins
/// that uses it first.
struct ExpertStep {
  /// Index into Placement::groups.
  std::uint32_t group = 0;
  /// The router's choice: I32 [used, tokens], in host memory.
  const ggml_tensor* ids = nullptr;
  /// Shadow of the ids: the same choice without gaps, in the numbers of slots or row tiles.
  ggml_tensor* numbered = nullptr;
  /// The parts of the group that the graph uses, in its order.
  std::vector<std::uint32_t> parts;
  /// The router's input: F32, a row for each token. Null where the router is not known.
  const ggml_tensor* input = nullptr;
  /// The router's weight: index into ModelProfile::tensors. Unset where the graph does not show it.
  std::optional<std::uint32_t> router;
};

/// A MUL_MAT_ID node with a part of an expert group.
struct ExpertNode {
  /// Index into CompiledPass::steps().
  std::size_t step = 0;
  /// Index into Segment::nodes.
  std::size_t node = 0;
  /// Index into ExpertGroup::parts.
  std::uint32_t part = 0;
  /// Shadow of the weight. Its data, strides and number of experts are set when the step is computed.
  ggml_tensor* weight = nullptr;
};

/// A stretch of the graph that the inner device gets in one call.
struct Segment {
  std::vector<ggml_tensor*> nodes;
  /// The streamed entries before this index must be in their slots.
  std::size_t entries_end = 0;
  /// This is done first, if it is set.
  std::optional<Gather> gather;
  /// The step (index into CompiledPass::steps()) that begins before the nodes are computed.
  std::optional<std::size_t> step;
  /// In the order of the nodes.
  std::vector<ExpertNode> experts;
  /// Products of the segment of which devices multiply some rows: indices into CompiledPass::row_products(),
  /// from `rows_begin` to before `rows_end`. All have the same input, which was computed before the segment.
  /// No node of the segment uses their results.
  std::size_t rows_begin = 0;
  std::size_t rows_end = 0;
};

/// One graph in the form that the tier executes. Shadow tensors that point into the arena replace the
/// weights, a new segment begins before each streamed weight, and tensors that lie in several units are
/// computed unit by unit.
/// The compilation changes the graph's own nodes, and the destructor restores them. So the graph must outlive
/// the compiled pass.
/// Threading: none.
class CompiledPass {
 public:
  CompiledPass() = default;
  CompiledPass(CompiledPass&& other) noexcept { *this = std::move(other); }
  CompiledPass& operator=(CompiledPass&& other) noexcept;
  ~CompiledPass() { restore(); }

  /// Compiles `graph`. With `split` (may be null), each token is computed as if it were the only one; the
  /// graph is the next part of the pass that `split` compares. `row_devices` multiply rows of some products.
  /// `graph`, `layout` and the devices must outlive the result.
  /// Errors: kUnsupported when the graph uses a weight in a way that its placement does not allow, when a
  /// segment needs more streamed weights at once than the ring holds, or when the graph cannot be split by
  /// tokens.
  [[nodiscard]] static Result<CompiledPass> compile(const ggml_cgraph& graph, const WeightBufferType& weights,
                                                    const WeightTable& table, const RepackedLayout& layout,
                                                    BatchInvariance* split = nullptr,
                                                    std::span<RowDevice* const> row_devices = {});

  /// Heap bytes that a compiled pass takes for each unit, at most. `repacked` says whether some weights are
  /// repacked.
  [[nodiscard]] static Bytes bytes_per_unit(bool repacked);

  /// Points the shadows of the streamed weights at their slots. Requires: `stream` has begun a piece with
  /// entries().
  void bind(const PassStream& stream);

  /// The streamed units, in the order in which the graph uses them.
  [[nodiscard]] const std::vector<StreamEntry>& entries() const { return entries_; }
  [[nodiscard]] std::deque<Segment>& segments() { return segments_; }
  /// The router's choices, in the order in which the graph uses them.
  [[nodiscard]] const std::vector<ExpertStep>& steps() const { return steps_; }
  /// The products of which devices multiply some rows, in the order of the graph.
  [[nodiscard]] std::span<const RowProduct> row_products() const { return row_products_; }

 private:
  friend class PassCompiler;
  // A source of a node that was replaced.
  struct Patch {
    ggml_tensor* node;
    int src;
    ggml_tensor* original;
  };
  // A shadow whose data lies in the slot of an entry, `offset` bytes behind the slot's first byte.
  struct Binding {
    ggml_tensor* shadow;
    std::size_t entry;
    std::uint64_t offset;
  };
  void restore();

  // A deque: with many small segments, half of a vector could be empty.
  std::deque<Segment> segments_;
  std::vector<StreamEntry> entries_;
  std::vector<ExpertStep> steps_;
  std::vector<RowProduct> row_products_;
  // A deque: elements keep their addresses.
  std::deque<ggml_tensor> shadows_;
  std::vector<Patch> patches_;
  std::vector<Binding> bindings_;
};

/// What one or more graphs need of the weights and of working memory.
struct GraphNeeds {
  /// In the order of first use.
  std::vector<plan::TensorUse> uses;
  /// Largest number of rows that one GET_ROWS picks from a weight.
  std::uint64_t gather_rows = 0;
  /// Bytes of the longest of these rows.
  std::uint64_t gather_row_bytes = 0;
  /// Largest number of ids of one MUL_MAT_ID.
  std::uint64_t expert_ids = 0;
  /// Largest number of products with one expert each that one choice for one token leads to.
  std::uint64_t expert_products = 0;
  /// Row bytes of the widest weight that is repacked; 0 if none is.
  std::uint64_t repacked_row_bytes = 0;
};

/// Records how `graph` uses the weights. It reads only the graph's structure, and changes nothing.
[[nodiscard]] GraphNeeds needs_of(const ggml_cgraph& graph, const WeightBufferType& weights,
                                  const RepackedLayout& layout);

/// Adds the needs of another graph to `needs`.
void merge(GraphNeeds& needs, const GraphNeeds& more);
/// Adds the needs of a graph that drafts. The layout of weights that are known does not change, and what the
/// graph multiplies with is marked as `for_drafts`, except experts.
void merge_drafts(GraphNeeds& needs, const GraphNeeds& more);

}  // namespace brimful::tier
