#include "tier/pass_program.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace strata::tier {
namespace {

bool computes_nothing(const ggml_tensor* node) {
  switch (node->op) {
    case GGML_OP_NONE:
    case GGML_OP_VIEW:
    case GGML_OP_RESHAPE:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE: return true;
    default: return false;
  }
}

bool is_gather(const ggml_tensor* node, int src) {
  return node->op == GGML_OP_GET_ROWS && src == 0 && node->src[0]->view_src == nullptr &&
         node->src[0]->ne[2] == 1 && node->src[0]->ne[3] == 1 && node->src[1]->ne[1] == 1 &&
         node->src[1]->ne[2] == 1 && ggml_is_contiguous(node->src[1]);
}

bool is_by_rows(const ggml_tensor* node, int src) {
  return node->op == GGML_OP_MUL_MAT && src == 0 && node->src[0]->view_src == nullptr &&
         node->src[0]->ne[2] == 1 && node->src[0]->ne[3] == 1 && node->type == GGML_TYPE_F32;
}

}  // namespace

GraphNeeds needs_of(const ggml_cgraph& graph, const WeightBufferType& weights, const RepackedLayout& layout) {
  GraphNeeds needs;
  std::vector<std::optional<std::size_t>> known(weights.profile().tensors.size());
  for (int n = 0; n < graph.n_nodes; ++n) {
    const ggml_tensor* const node = graph.nodes[n];
    if (computes_nothing(node)) continue;
    for (int s = 0; s < GGML_MAX_SRC && node->src[s] != nullptr; ++s) {
      const auto index = weights.weight_of(node->src[s]);
      if (!index) continue;
      if (!known[*index]) {
        known[*index] = needs.uses.size();
        needs.uses.push_back(plan::TensorUse{.tensor = *index});
      }
      plan::TensorUse& use = needs.uses[*known[*index]];
      if (is_gather(node, s)) {
        use.gather = true;
        needs.gather_rows = std::max(needs.gather_rows, static_cast<std::uint64_t>(node->src[1]->ne[0]));
        needs.gather_row_bytes = std::max(needs.gather_row_bytes, std::uint64_t{node->src[0]->nb[1]});
        continue;
      }
      const bool first = !use.by_rows && !use.whole;
      use.repacked = s == 0 && (first || use.repacked) && layout.serves(node);
      (is_by_rows(node, s) ? use.by_rows : use.whole) = true;
    }
  }
  for (const plan::TensorUse& use : needs.uses) {
    if (!use.repacked) continue;
    const std::uint64_t row_bytes = weights.profile().tensors[use.tensor].row_bytes().value;
    needs.repacked_row_bytes = std::max(needs.repacked_row_bytes, row_bytes);
  }
  return needs;
}

void merge(GraphNeeds& needs, const GraphNeeds& more) {
  for (const plan::TensorUse& use : more.uses) {
    const auto known = std::ranges::find(needs.uses, use.tensor, &plan::TensorUse::tensor);
    if (known == needs.uses.end()) {
      needs.uses.push_back(use);
      continue;
    }
    const auto computes = [](const plan::TensorUse& u) { return u.by_rows || u.whole; };
    if (computes(use)) known->repacked = use.repacked && (known->repacked || !computes(*known));
    known->gather |= use.gather;
    known->by_rows |= use.by_rows;
    known->whole |= use.whole;
  }
  needs.gather_rows = std::max(needs.gather_rows, more.gather_rows);
  needs.gather_row_bytes = std::max(needs.gather_row_bytes, more.gather_row_bytes);
  needs.repacked_row_bytes = std::max(needs.repacked_row_bytes, more.repacked_row_bytes);
}

/// Builds one PassProgram; lives for the call.
class PassCompiler {
 public:
  PassCompiler(const WeightBufferType& weights, const WeightTable& table, const RepackedLayout& layout)
      : weights_(weights), table_(table), layout_(layout) {}

  Result<PassProgram> compile(const ggml_cgraph& graph) {
    for (int n = 0; n < graph.n_nodes; ++n) STRATA_TRY_VOID(add(graph.nodes[n]));
    close_run();
    STRATA_TRY_VOID(check_ring());
    return std::move(program_);
  }

 private:
  Status add(ggml_tensor* node) {
    if (computes_nothing(node)) {  // kept all the same: which nodes are neighbours decides what ggml fuses
      run_.nodes.push_back(node);
      return {};
    }
    for (int s = 0; s < GGML_MAX_SRC && node->src[s] != nullptr; ++s) {
      const auto index = weights_.weight_of(node->src[s]);
      if (!index) continue;
      const auto units = table_.units(*index);
      if (is_gather(node, s) && (table_.resident(*index) == nullptr || table_.repacked(*index))) {
        add_gather(node, *index);
      } else if (table_.resident(*index) != nullptr) {
        patch(node, s, shadow_of(node->src[s], *index, table_.resident(*index)));
      } else if (units.size() == 1) {
        patch(node, s, streamed_shadow(node->src[s], units.front()));
      } else if (is_by_rows(node, s) && !units.empty() && weights_.weight_of(node->src[1]) == std::nullopt) {
        add_by_units(node, units);
        return {};
      } else {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("this graph uses '{}' as {}, which its placement did not foresee",
                                table_.profile().tensors[*index].name, ggml_op_name(node->op)));
      }
    }
    run_.nodes.push_back(node);
    return {};
  }

  /// One node for each stretch of rows that lies in one piece.
  void add_by_units(ggml_tensor* node, std::span<const plan::Unit> units) {
    for (std::size_t i = 0; i < units.size();) {
      std::size_t end = i + 1;
      std::int64_t rows = units[i].rows;
      while (units[i].resident && end < units.size() && units[end].resident) rows += units[end++].rows;

      ggml_tensor* const weight = units[i].resident
                                      ? shadow_of(node->src[0], units[i].tensor, table_.address(units[i]))
                                      : streamed_shadow(node->src[0], units[i]);
      weight->ne[1] = rows;
      weight->nb[2] = weight->nb[3] = weight->nb[1] * static_cast<std::size_t>(rows);

      ggml_tensor& part = program_.shadows_.emplace_back(*node);
      part.src[0] = weight;
      part.ne[0] = rows;  // the strides stay: a stretch of each row of the result
      part.data = static_cast<char*>(node->data) + static_cast<std::size_t>(units[i].first_row) * part.nb[0];
      run_.nodes.push_back(&part);
      i = end;
    }
  }

  void add_gather(ggml_tensor* node, std::uint32_t index) {
    close_run();
    last_streamed_ = nullptr;  // released with the run that ended here
    ggml_tensor* const ids = node->src[1];
    ggml_tensor* const table = &program_.shadows_.emplace_back(*node->src[0]);
    table->data = nullptr;
    table->ne[1] = ids->ne[0];
    table->nb[2] = table->nb[3] = table->nb[1] * static_cast<std::size_t>(ids->ne[0]);
    ggml_tensor& identity = program_.shadows_.emplace_back(*ids);
    run_.gather = Gather{index, ids, table, &identity};
    patch(node, 0, table);
    patch(node, 1, &identity);
  }

  /// A copy of a weight, or of a view of one, whose weight's first byte lies at `data`.
  ggml_tensor* shadow_of(const ggml_tensor* tensor, std::uint32_t index, std::byte* data) {
    ggml_tensor& shadow = program_.shadows_.emplace_back(*tensor);
    if (table_.repacked(index)) layout_.dress(shadow);
    const std::size_t view_offset = tensor->view_src != nullptr ? tensor->view_offs : 0;
    shadow.data = data == nullptr ? nullptr : data + view_offset;
    return &shadow;
  }

  ggml_tensor* streamed_shadow(const ggml_tensor* tensor, const plan::Unit& unit) {
    ggml_tensor* const shadow = shadow_of(tensor, unit.tensor, nullptr);
    const std::size_t view_offset = tensor->view_src != nullptr ? tensor->view_offs : 0;
    if (last_streamed_ != &unit) {  // a unit used twice in a row is still in its slot
      close_run();
      last_streamed_ = &unit;
      program_.entries_.push_back(StreamEntry{unit.file, unit.span_begin(), unit.span().value});
      if (table_.repacked(unit.tensor))
        run_.nodes.push_back(&program_.shadows_.emplace_back(layout_.repacking(shadow)));
    }
    run_.entries_end = program_.entries_.size();
    program_.bindings_.push_back(
        {shadow, program_.entries_.size() - 1, unit.offset - unit.span_begin() + view_offset});
    return shadow;
  }

  /// A run that needs several streamed units at once must find room for all of them, wherever the ring wraps.
  [[nodiscard]] Status check_ring() const {
    std::size_t begin = 0;
    for (const Run& run : program_.runs_) {
      Bytes together;
      for (std::size_t i = begin; i < run.entries_end; ++i) together += Bytes{program_.entries_[i].span};
      const bool several = run.entries_end > begin + 1;
      if (several && together + table_.placement().largest_streamed > table_.placement().ring) {
        return fail(
            ErrorCode::kUnsupported,
            fmt::format(
                "'{}' needs {} of streamed weights at once, more than the ring holds: use a larger --ram",
                run.nodes.front()->name, format_bytes(together)));
      }
      begin = run.entries_end;
    }
    return {};
  }

  void patch(ggml_tensor* node, int src, ggml_tensor* shadow) {
    program_.patches_.push_back({node, src, node->src[src]});
    node->src[src] = shadow;
  }

  void close_run() {
    const std::size_t entries = program_.entries_.size();
    if (!run_.nodes.empty() || run_.gather) program_.runs_.push_back(std::move(run_));
    run_ = Run{};
    run_.entries_end = entries;
  }

  const WeightBufferType& weights_;
  const WeightTable& table_;
  const RepackedLayout& layout_;
  PassProgram program_;
  Run run_;
  const plan::Unit* last_streamed_ = nullptr;
};

Result<PassProgram> PassProgram::compile(const ggml_cgraph& graph, const WeightBufferType& weights,
                                         const WeightTable& table, const RepackedLayout& layout) {
  return PassCompiler(weights, table, layout).compile(graph);
}

Bytes PassProgram::bytes_per_unit() {
  constexpr std::size_t kGrown = 2;        // a vector that grows may hold twice what it needs
  constexpr std::size_t kAllocation = 48;  // a run's own list of nodes: two or three, and the heap's header
  return Bytes{3 * sizeof(ggml_tensor) +   // the weight's shadow, its repacking, the node's where it is cut
               kGrown * (sizeof(Run) + sizeof(StreamEntry) + sizeof(Binding)) + kAllocation};
}

PassProgram& PassProgram::operator=(PassProgram&& other) noexcept {
  std::swap(runs_, other.runs_);
  std::swap(entries_, other.entries_);
  std::swap(shadows_, other.shadows_);
  std::swap(patches_, other.patches_);
  std::swap(bindings_, other.bindings_);
  return *this;
}

void PassProgram::bind(const Streamer& streamer) {
  for (const Binding& binding : bindings_)
    binding.shadow->data = streamer.slot(binding.entry) + binding.offset;
}

void PassProgram::restore() {
  for (auto patch = patches_.rbegin(); patch != patches_.rend(); ++patch)
    patch->node->src[patch->src] = patch->original;
  patches_.clear();
}

}  // namespace strata::tier
