#include "tier/host/compiled_pass.h"

#include <fmt/format.h>
#include <ggml-cpu.h>
#include <ggml-impl.h>

#include <algorithm>
#include <map>

#include "base/check.h"
#include "plan/kernel_rows.h"
#include "tier/host/graph_nodes.h"

namespace brimful::tier {
namespace {

/// Whether `node` picks rows of a plain matrix, its source `src`.
bool is_gather(const ggml_tensor* node, int src) {
  return node->op == GGML_OP_GET_ROWS && src == 0 && node->src[0]->view_src == nullptr &&
         node->src[0]->ne[2] == 1 && node->src[0]->ne[3] == 1 && node->src[1]->ne[1] == 1 &&
         node->src[1]->ne[2] == 1 && ggml_is_contiguous(node->src[1]);
}

/// Whether `node` multiplies with a plain matrix, its source `src`, so that rows of it may be computed apart.
bool is_by_rows(const ggml_tensor* node, int src) {
  return node->op == GGML_OP_MUL_MAT && src == 0 && node->src[0]->view_src == nullptr &&
         node->src[0]->ne[2] == 1 && node->src[0]->ne[3] == 1 && node->type == GGML_TYPE_F32;
}

/// Whether `node` multiplies with experts of its source `src`.
bool is_by_experts(const ggml_tensor* node, int src) {
  return node->op == GGML_OP_MUL_MAT_ID && src == 0 && node->src[0]->view_src == nullptr &&
         node->src[0]->ne[3] == 1 && node->src[1]->type == GGML_TYPE_F32;
}

/// Whether ggml would compute `node` with another kernel if its experts had gaps between them. Another kernel
/// needs another amount of working memory.
bool depends_on_gaps(const ggml_tensor* node) {
  const auto work_of = [](ggml_tensor op) {
    ggml_tensor* nodes[] = {&op};
    ggml_cgraph graph{};
    graph.n_nodes = 1;
    graph.nodes = nodes;
    return ggml_graph_plan(&graph, 1, nullptr).work_size;
  };
  ggml_tensor weight = *node->src[0];
  ggml_tensor op = *node;
  op.src[0] = &weight;
  const std::size_t without = work_of(op);
  weight.nb[2] += plan::kBlock;
  weight.nb[3] = weight.nb[2] * static_cast<std::size_t>(weight.ne[2]);
  return work_of(op) != without;
}

/// The node that multiplies the hidden state with the router's weight and leads to `ids`: the first MUL_MAT
/// on the way back, if its weight has one row for each expert. Null otherwise.
const ggml_tensor* find_router(const ggml_tensor* ids, std::int64_t experts,
                               const WeightBufferType& weights) {
  constexpr int kDepth = 16;  // softmax, bias, groups, top-k, views
  const ggml_tensor* node = ids;
  for (int i = 0; i < kDepth && node != nullptr; ++i) {
    if (node->op == GGML_OP_MUL_MAT) {
      const bool router = weights.weight_of(node->src[0]) && node->src[0]->ne[1] == experts;
      return router ? node : nullptr;
    }
    node = node->src[0];
  }
  return nullptr;
}

}  // namespace

GraphNeeds needs_of(const ggml_cgraph& graph, const WeightBufferType& weights, const RepackedLayout& layout) {
  GraphNeeds needs;
  std::vector<std::optional<std::size_t>> known(weights.profile().tensors.size());
  std::map<const ggml_tensor*, std::uint32_t> groups;    // by ids: the first tensor that they pick from
  std::map<const ggml_tensor*, std::uint64_t> products;  // by ids of one token
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
      if (is_by_experts(node, s)) {
        const auto of_ids = groups.try_emplace(node->src[2], *index).first;
        if (first) use.expert_group = of_ids->second;
        if (use.expert_group != of_ids->second) use.expert_group.reset();
        use.contiguous = use.contiguous || depends_on_gaps(node);
        needs.expert_ids =
            std::max(needs.expert_ids, static_cast<std::uint64_t>(ggml_nelements(node->src[2])));
        if (node->src[2]->ne[1] == 1) {
          std::uint64_t& count = products[node->src[2]];
          count += static_cast<std::uint64_t>(node->src[2]->ne[0]);
          needs.expert_products = std::max(needs.expert_products, count);
        }
      } else {
        use.expert_group.reset();
      }
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
    known->contiguous |= use.contiguous;
    if (!computes(*known)) {
      known->expert_group = use.expert_group;
    } else if (computes(use) && known->expert_group != use.expert_group) {
      known->expert_group.reset();
    }
    if (computes(use)) known->repacked = use.repacked && (known->repacked || !computes(*known));
    known->gather |= use.gather;
    known->by_rows |= use.by_rows;
    known->whole |= use.whole;
  }
  needs.gather_rows = std::max(needs.gather_rows, more.gather_rows);
  needs.gather_row_bytes = std::max(needs.gather_row_bytes, more.gather_row_bytes);
  needs.expert_ids = std::max(needs.expert_ids, more.expert_ids);
  needs.expert_products = std::max(needs.expert_products, more.expert_products);
  needs.repacked_row_bytes = std::max(needs.repacked_row_bytes, more.repacked_row_bytes);
}

void merge_drafts(GraphNeeds& needs, const GraphNeeds& more) {
  const std::vector<plan::TensorUse> before = needs.uses;
  merge(needs, more);
  for (plan::TensorUse& use : needs.uses) {
    const auto known = std::ranges::find(before, use.tensor, &plan::TensorUse::tensor);
    if (known != before.end() && (known->by_rows || known->whole)) use.repacked = known->repacked;
    const auto drafts = std::ranges::find(more.uses, use.tensor, &plan::TensorUse::tensor);
    if (drafts != more.uses.end() && (drafts->by_rows || drafts->whole)) use.for_drafts = !use.expert_group;
  }
}

/// Builds one CompiledPass. It lives for the call of compile().
class PassCompiler {
 public:
  PassCompiler(const WeightBufferType& weights, const WeightTable& table, const RepackedLayout& layout,
               const BatchInvariance* split, std::span<RowDevice* const> row_devices)
      : weights_(weights), table_(table), layout_(layout), row_devices_(row_devices) {
    if (split == nullptr) return;
    cutter_.emplace(
        *split, [this](const ggml_tensor& of) -> ggml_tensor& { return program_.shadows_.emplace_back(of); });
  }

  Result<CompiledPass> compile(const ggml_cgraph& graph, const BatchInvariance::Cuts& cuts) {
    for (int n = 0; n < graph.n_nodes; ++n) {
      if (cutter_) dimension_ = cuts.dimension[static_cast<std::size_t>(n)];
      tokens_ = cuts.tokens;
      BRIMFUL_TRY_VOID(add(graph.nodes[n]));
    }
    close_run();
    BRIMFUL_TRY_VOID(check_ring());
    return std::move(program_);
  }

 private:
  Status add(ggml_tensor* node) {
    if (computes_nothing(node)) {  // it stays: which nodes are neighbours decides what ggml fuses
      segment_.nodes.push_back(node);
      return {};
    }
    if (needs_unfinished(*node)) end_segment();
    for (int s = 0; s < GGML_MAX_SRC && node->src[s] != nullptr; ++s) {
      const auto index = weights_.weight_of(node->src[s]);
      if (!index) continue;
      const auto units = table_.units(*index);
      if (table_.expert_part(*index) && is_by_experts(node, s)) {
        BRIMFUL_TRY_VOID(add_experts(node, *table_.expert_part(*index)));
        continue;
      }
      if (is_gather(node, s) && (table_.resident(*index) == nullptr || table_.repacked(*index))) {
        add_gather(node, *index);
      } else if (table_.resident(*index) != nullptr) {
        if (is_by_rows(node, s) && add_by_device(node, *index)) return {};
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
    emit(node);
    return {};
  }

  /// Adds a node to the segment, cut by tokens where that is needed.
  void emit(ggml_tensor* node) {
    if (dimension_ != 0) {
      cutter_->cut(node, layout_.dressed(*node->src[0]), dimension_, tokens_, segment_.nodes);
    } else {
      segment_.nodes.push_back(node);
    }
  }

  /// Adds one node for each stretch of rows that lies in one piece.
  void add_by_units(ggml_tensor* node, std::span<const plan::Unit> units) {
    for (std::size_t i = 0; i < units.size();) {
      std::size_t end = i + 1;
      std::int64_t rows = units[i].rows;
      // Parts that lie side by side become one part, unless that part would get another kernel than the
      // whole.
      const bool any_rows = node->src[0]->ne[1] % plan::kKernelRows == 0;
      while (units[i].resident && end < units.size() && units[end].resident &&
             (any_rows || (rows + units[end].rows) % plan::kKernelRows != 0))
        rows += units[end++].rows;

      ggml_tensor* const weight = units[i].resident
                                      ? shadow_of(node->src[0], units[i].tensor, table_.address(units[i]))
                                      : streamed_shadow(node->src[0], units[i]);
      weight->ne[1] = rows;
      weight->nb[2] = weight->nb[3] = weight->nb[1] * static_cast<std::size_t>(rows);

      ggml_tensor& part = program_.shadows_.emplace_back(*node);
      part.src[0] = weight;
      part.ne[0] = rows;  // the strides stay: the part is a stretch of each row of the result
      part.data = static_cast<char*>(node->data) + static_cast<std::size_t>(units[i].first_row) * part.nb[0];
      emit(&part);
      i = end;
    }
  }

  /// Whether a node uses the result of a product that is finished only after the segment.
  [[nodiscard]] bool needs_unfinished(const ggml_tensor& node) const {
    for (const ggml_tensor* src : node.src) {
      if (src == nullptr) continue;
      const ggml_tensor* const memory = src->view_src != nullptr ? src->view_src : src;
      for (std::size_t i = segment_.rows_begin; i < segment_.rows_end; ++i) {
        if (program_.row_products_[i].node == memory) return true;
      }
    }
    return false;
  }

  /// Adds the first rows of a product with a resident weight, if a device multiplies the others. Returns
  /// false where none does.
  bool add_by_device(ggml_tensor* node, std::uint32_t index) {
    if (weights_.weight_of(node->src[1])) return false;
    for (RowDevice* const device : row_devices_) {
      const auto first_row = device->first_row(*node, index);
      if (!first_row) continue;
      std::vector<RowProduct>& products = program_.row_products_;
      const bool same_input = segment_.rows_end > segment_.rows_begin &&
                              products[segment_.rows_begin].node->src[1] == node->src[1];
      if (!same_input) end_segment();
      products.push_back({device, node, index, *first_row, cutter_.has_value()});
      segment_.rows_end = products.size();
      ggml_tensor* const weight = shadow_of(node->src[0], index, table_.resident(index));
      weight->ne[1] = *first_row;
      weight->nb[2] = weight->nb[3] = weight->nb[1] * static_cast<std::size_t>(*first_row);
      ggml_tensor& part = program_.shadows_.emplace_back(*node);
      part.src[0] = weight;
      part.ne[0] = *first_row;  // the strides stay: the part is the beginning of each row of the result
      emit(&part);
      return true;
    }
    return false;
  }

  /// Adds a product with a part of an expert group. The first one of a step begins a new segment.
  Status add_experts(ggml_tensor* node, WeightTable::Part part) {
    const ggml_tensor* const ids = node->src[2];
    auto step = std::ranges::find(program_.steps_, part.group, &ExpertStep::group);
    if (step == program_.steps_.end()) {
      close_run();
      last_streamed_ = nullptr;
      segment_.step = program_.steps_.size();
      program_.steps_.push_back(begin_step(node, part.group));
      step = program_.steps_.end() - 1;
    }
    if (step->ids != ids) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("this graph picks from '{}' in a way that its placement did not foresee",
                              node->src[0]->name));
    }
    step->parts.push_back(part.part);
    ggml_tensor& weight = program_.shadows_.emplace_back(*node->src[0]);
    if (table_.repacked(*weights_.weight_of(node->src[0]))) layout_.dress(weight);
    patch(node, 0, &weight);
    patch(node, 2, step->numbered);
    segment_.experts.push_back({static_cast<std::size_t>(step - program_.steps_.begin()),
                                segment_.nodes.size(), part.part, &weight});
    return {};
  }

  ExpertStep begin_step(const ggml_tensor* node, std::uint32_t group) {
    const ggml_tensor* const ids = node->src[2];
    ggml_tensor& numbered = program_.shadows_.emplace_back(without_gaps(*ids));
    ExpertStep step{
        .group = group, .ids = ids, .numbered = &numbered, .parts = {}, .input = nullptr, .router = {}};
    if (const ggml_tensor* const router = find_router(ids, node->src[0]->ne[2], weights_)) {
      step.input = router->src[1];
      step.router = weights_.weight_of(router->src[0]);
    }
    return step;
  }

  /// Adds a GET_ROWS that reads its rows from disk, in a new segment.
  void add_gather(ggml_tensor* node, std::uint32_t index) {
    close_run();
    last_streamed_ = nullptr;  // its slot is released with the segment that ended here
    ggml_tensor* const ids = node->src[1];
    ggml_tensor* const table = &program_.shadows_.emplace_back(*node->src[0]);
    table->data = nullptr;
    table->ne[1] = ids->ne[0];
    table->nb[2] = table->nb[3] = table->nb[1] * static_cast<std::size_t>(ids->ne[0]);
    ggml_tensor& identity = program_.shadows_.emplace_back(*ids);
    segment_.gather = Gather{index, ids, table, &identity};
    patch(node, 0, table);
    patch(node, 1, &identity);
  }

  /// Makes a copy of `tensor`, which is a weight or a view of one. The weight's first byte lies at `data`;
  /// null where bind() will set the address.
  ggml_tensor* shadow_of(const ggml_tensor* tensor, std::uint32_t index, std::byte* data) {
    ggml_tensor& shadow = program_.shadows_.emplace_back(*tensor);
    if (table_.repacked(index)) layout_.dress(shadow);
    const std::size_t view_offset = tensor->view_src != nullptr ? tensor->view_offs : 0;
    shadow.data = data == nullptr ? nullptr : data + view_offset;
    return &shadow;
  }

  /// Makes a shadow of a streamed unit, in a new segment unless the unit is in its slot already.
  ggml_tensor* streamed_shadow(const ggml_tensor* tensor, const plan::Unit& unit) {
    ggml_tensor* const shadow = shadow_of(tensor, unit.tensor, nullptr);
    const std::size_t view_offset = tensor->view_src != nullptr ? tensor->view_offs : 0;
    if (last_streamed_ != &unit) {  // a unit that is used twice in a row is still in its slot
      close_run();
      last_streamed_ = &unit;
      program_.entries_.push_back(StreamEntry{unit.file, unit.span_begin(), unit.span().value});
      if (table_.repacked(unit.tensor))
        segment_.nodes.push_back(&program_.shadows_.emplace_back(layout_.repacking(shadow)));
    }
    segment_.entries_end = program_.entries_.size();
    program_.bindings_.push_back(
        {shadow, program_.entries_.size() - 1, unit.offset - unit.span_begin() + view_offset});
    return shadow;
  }

  /// Errors: kUnsupported where a segment needs more streamed units at once than the ring has room for,
  /// wherever the ring wraps.
  [[nodiscard]] Status check_ring() const {
    std::size_t begin = 0;
    for (const Segment& segment : program_.segments_) {
      Bytes together;
      for (std::size_t i = begin; i < segment.entries_end; ++i) together += Bytes{program_.entries_[i].span};
      const bool several = segment.entries_end > begin + 1;
      if (several && together + table_.placement().largest_streamed > table_.placement().ring) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("'{}' needs {} of streamed weights at once, more than the ring holds: use a "
                                "larger RAM budget",
                                segment.nodes.front()->name, format_bytes(together)));
      }
      begin = segment.entries_end;
    }
    return {};
  }

  void patch(ggml_tensor* node, int src, ggml_tensor* shadow) {
    program_.patches_.push_back({node, src, node->src[src]});
    node->src[src] = shadow;
  }

  /// Ends the segment. Slots of streamed units are released with it.
  void end_segment() {
    close_run();
    last_streamed_ = nullptr;
  }

  void close_run() {
    const std::size_t entries = program_.entries_.size();
    if (!segment_.nodes.empty() || segment_.gather || segment_.step)
      program_.segments_.push_back(std::move(segment_));
    segment_ = Segment{};
    segment_.entries_end = entries;
    segment_.rows_begin = segment_.rows_end = program_.row_products_.size();
  }

  const WeightBufferType& weights_;
  const WeightTable& table_;
  const RepackedLayout& layout_;
  const std::span<RowDevice* const> row_devices_;
  CompiledPass program_;
  Segment segment_;
  const plan::Unit* last_streamed_ = nullptr;
  std::optional<NodeCutter> cutter_;
  // For the node being added: the dimension that counts tokens. 0: it is not cut.
  int dimension_ = 0;
  std::int64_t tokens_ = 1;
};

Result<CompiledPass> CompiledPass::compile(const ggml_cgraph& graph, const WeightBufferType& weights,
                                           const WeightTable& table, const RepackedLayout& layout,
                                           BatchInvariance* split, std::span<RowDevice* const> row_devices) {
  BatchInvariance::Cuts cuts;
  if (split != nullptr) {
    BRIMFUL_TRY(cuts, split->match(graph));
  }
  return PassCompiler(weights, table, layout, split, row_devices).compile(graph, cuts);
}

Bytes CompiledPass::bytes_per_unit(bool repacked) {
  constexpr std::size_t kGrown = 2;  // a vector that grows may take twice what it needs
  // Bytes of a segment's own list of two or three nodes, and of the heap's header.
  constexpr std::size_t kAllocation = 48;
  const std::size_t shadows = repacked ? 3 : 2;  // the weight, the node where it is cut, its repacking
  return Bytes{shadows * sizeof(ggml_tensor) + kGrown * (sizeof(StreamEntry) + sizeof(Binding)) +
               sizeof(Segment) + sizeof(Segment) / 4 + kAllocation};
}

CompiledPass& CompiledPass::operator=(CompiledPass&& other) noexcept {
  std::swap(segments_, other.segments_);
  std::swap(entries_, other.entries_);
  std::swap(steps_, other.steps_);
  std::swap(row_products_, other.row_products_);
  std::swap(shadows_, other.shadows_);
  std::swap(patches_, other.patches_);
  std::swap(bindings_, other.bindings_);
  return *this;
}

void CompiledPass::bind(const PassStream& stream) {
  for (const Binding& binding : bindings_) binding.shadow->data = stream.slot(binding.entry) + binding.offset;
}

void CompiledPass::restore() {
  for (auto patch = patches_.rbegin(); patch != patches_.rend(); ++patch)
    patch->node->src[patch->src] = patch->original;
  patches_.clear();
}

}  // namespace brimful::tier
