// A piece of a pass, computed on a device.
#include <fmt/format.h>
#include <ggml-backend-impl.h>
#include <ggml-impl.h>

#include <algorithm>
#include <deque>

#include "base/check.h"
#include "tier/gpu/gpu_device.h"
#include "tier/gpu/gpu_part.h"
#include "tier/gpu/host_chain.h"
#include "tier/host/graph_nodes.h"

namespace brimful::tier {

struct GpuDevice::GpuSegment {
  std::vector<ggml_tensor*> nodes;
  // What is sent for the entries before this index must be there.
  std::size_t entries_end = 0;
  // The router's choice with which the segment begins. Null: it has no step of experts.
  const ggml_tensor* ids = nullptr;
  // The group of the choice.
  std::uint32_t group = 0;
  // The products of the choice.
  std::vector<DeviceProduct> products;
  // What the host computes of the step where experts are missing (find_host_chain()). Empty: only the
  // products.
  std::vector<const ggml_tensor*> chain;
  // Where each product stands in `nodes`: the last of its nodes, where it is cut by tokens.
  std::vector<std::size_t> product_nodes;
  // Index into markers_ of the first of the segment's markers: one for each product, and one more.
  std::size_t marker = 0;
  // The markers instead of these, where the tokens of the pass are kept apart.
  std::vector<ggml_tensor*> own_markers;
};

namespace {

/// A node that computes nothing.
ggml_tensor marker(const std::string& name) {
  ggml_tensor out{};
  out.type = GGML_TYPE_F32;
  std::ranges::fill(out.ne, 1);
  std::ranges::fill(out.nb, sizeof(float));
  ggml_set_name(&out, name.c_str());
  return out;
}

}  // namespace

/// A compiled pass of the device: while it lives, the nodes of its graph take their weights from the device's
/// memory.
class GpuDevice::Program {
 public:
  using Segment = GpuSegment;

  /// With `cuts` (may be null), the tokens of the graph are kept apart. `columns` makes the copies of nodes.
  Program(const GpuDevice& device, SingleColumns& columns, const ggml_cgraph& graph,
          const BatchInvariance::Cuts* cuts)
      : device_(device),
        columns_(columns),
        cutter_(columns.split(),
                [&columns](const ggml_tensor& of) -> ggml_tensor& { return columns.copy(of); }) {
    if (cuts != nullptr) {
      tokens_ = cuts->tokens;
      marks_ = true;
      columns.begin_copies(tokens_);
    }
    for (int n = 0; n < graph.n_nodes; ++n) {
      dimension_ = cuts != nullptr ? cuts->dimension[static_cast<std::size_t>(n)] : 0;
      add(graph.nodes[n]);
    }
    close();
  }
  ~Program() {
    for (const Patch& patch : patches_) *patch.place = patch.original;
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  [[nodiscard]] const std::vector<StreamEntry>& entries() const { return entries_; }
  [[nodiscard]] const std::deque<Segment>& segments() const { return segments_; }
  /// The products that are cut by tokens.
  [[nodiscard]] const std::vector<CutProduct>& cut_products() const { return cut_products_; }
  /// The number of markers that the segments have.
  [[nodiscard]] std::size_t markers() const { return segment_.marker; }
  /// Points the shadows of sent weights at their slots. Requires: a piece of entries() has begun.
  void bind(const PassStream& stream) {
    for (const auto& [shadow, entry] : sent_) shadow->data = stream.slot(entry);
  }

 private:
  struct Patch {
    ggml_tensor** place;
    ggml_tensor* original;
  };

  void add(ggml_tensor* node) {
    for (ggml_tensor*& src : node->src) {
      if (computes_nothing(node)) break;  // a view of a weight may stand here, and its user elsewhere
      const auto weight = src != nullptr ? device_.weights_.weight_of(src) : std::nullopt;
      if (!weight) continue;
      ggml_tensor* const device_tensor = device_.device_tensors_[*weight];
      if (device_tensor == nullptr && device_.experts_ && device_.experts_->takes(*node)) {
        add_product(node, *weight);
        break;
      }
      patches_.push_back({&src, src});
      src = device_tensor != nullptr ? device_tensor : sent(*src, *weight);
    }
    originals_.push_back(node);
    if (marks_ && segment_.nodes.empty()) segment_.nodes.push_back(&columns_.copy(marker("part of a draft")));
    cutter_.cut(node, false, dimension_, tokens_, segment_.nodes);
    if (!segment_.products.empty() && segment_.products.back().node == node)
      segment_.product_nodes.push_back(segment_.nodes.size() - 1);
    if (dimension_ != 0 && (node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID))
      cut_products_.push_back({node, dimension_});
  }

  /// Adds a product with experts in slots. The first one of a step begins a new segment.
  void add_product(ggml_tensor* node, std::uint32_t weight) {
    ggml_tensor* const ids = node->src[2];
    if (segment_.ids != ids) {
      close();
      segment_.ids = ids;
      segment_.group = device_.experts_->group_of(weight);
      numbered_ = device_.experts_->numbered_as(segment_.group, without_gaps(*ids));
    }
    segment_.products.push_back({node, node->src[0]});
    patches_.push_back({&node->src[0], node->src[0]});
    patches_.push_back({&node->src[2], ids});
    node->src[0] = device_.experts_->slots_of(weight);
    node->src[2] = numbered_;
  }

  /// Makes a shadow of a weight that is sent, in a new segment unless the weight is in its slot already.
  ggml_tensor* sent(const ggml_tensor& tensor, std::uint32_t weight) {
    const model::TensorInfo& info = device_.weights_.profile().tensors[weight];
    const StreamEntry entry{info.file, info.offset, info.bytes.value,
                            (device_.padded_bytes(weight) - info.bytes).value,
                            info.shape[2] > 1 ? plan::expert_bytes(info).value : 0};
    if (entries_.empty() || entries_.back() != entry) {  // a weight used twice in a row is still in its slot
      close();
      entries_.push_back(entry);
    }
    segment_.entries_end = entries_.size();
    ggml_tensor& shadow = shadows_.emplace_back(tensor);
    shadow.buffer = device_.ring_.get();
    shadow.extra = nullptr;
    sent_.emplace_back(&shadow, entries_.size() - 1);
    return &shadow;
  }

  void close() {
    const std::size_t markers =
        segment_.marker + (segment_.ids != nullptr ? segment_.products.size() + 1 : 0);
    if (segment_.ids != nullptr) {
      std::vector<const ggml_tensor*> products;
      for (const DeviceProduct& product : segment_.products) products.push_back(product.node);
      segment_.chain = find_host_chain(originals_, products);
    }
    originals_.clear();
    if (marks_ && segment_.ids != nullptr) {
      for (std::size_t i = 0; i <= segment_.products.size(); ++i)
        segment_.own_markers.push_back(&columns_.copy(marker("part of a draft with missing experts")));
    }
    if (!segment_.nodes.empty()) segments_.push_back(std::move(segment_));
    segment_ = Segment{};
    segment_.entries_end = entries_.size();
    segment_.marker = markers;
  }

  const GpuDevice& device_;
  SingleColumns& columns_;
  NodeCutter cutter_;
  // Whether each segment begins with a marker of its own: a back end that records graphs (CUDA's) knows a
  // graph by its first node, and those of libllama are the same for each number of tokens.
  bool marks_ = false;
  std::int64_t tokens_ = 1;
  // For the node being added: the dimension that counts tokens. 0: it is not cut.
  int dimension_ = 0;
  std::vector<CutProduct> cut_products_;
  std::vector<Patch> patches_;
  // A deque: elements keep their addresses.
  std::deque<ggml_tensor> shadows_;
  std::vector<std::pair<ggml_tensor*, std::size_t>> sent_;
  std::vector<StreamEntry> entries_;
  std::deque<Segment> segments_;
  Segment segment_;
  // The nodes of the segment as libllama made them.
  std::vector<ggml_tensor*> originals_;
  // The ids of the segment as numbers of slots.
  ggml_tensor* numbered_ = nullptr;
};

namespace {

/// A number for these nodes of a graph that has this uid, and for no others.
std::uint64_t uid_of_part(std::uint64_t uid, std::span<ggml_tensor* const> nodes) {
  constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15;  // of Fibonacci hashing
  const auto mix = [](std::uint64_t a, std::uint64_t b) {
    const std::uint64_t mixed = (a ^ b) * kFactor;
    return mixed ^ (mixed >> 32);
  };
  const auto first = reinterpret_cast<std::uintptr_t>(nodes.front());
  return std::max<std::uint64_t>(mix(mix(mix(kFactor, uid), first), nodes.size()), 1);
}

/// Sets all results to zeros, so that others do not compute with whatever lies in fresh memory.
void clear_results(const ggml_cgraph& graph) {
  for (int n = 0; n < graph.n_nodes; ++n) {
    ggml_tensor* const node = graph.nodes[n];
    const bool is_own = node->view_src == nullptr && !computes_nothing(node) && node->buffer != nullptr;
    if (is_own && node->buffer->iface.memset_tensor != nullptr)
      ggml_backend_tensor_memset(node, 0, 0, ggml_nbytes(node));
  }
}

}  // namespace

Status GpuDevice::compute(const Stream& stream, ggml_cgraph& graph) {
  if (!placed_) {  // libllama only learns what the graph needs
    clear_results(graph);
    if (experts_) experts_->record(graph);
    return columns_.on() ? columns_.record(graph) : Status{};
  }
  std::optional<BatchInvariance::Cuts> cuts;
  if (columns_.on()) {
    BRIMFUL_TRY(cuts, columns_.match(graph));
  }
  if (experts_) experts_->defer(columns_.on() || freezes_experts_);
  Program program(*this, columns_, graph, cuts ? &*cuts : nullptr);
  if (columns_.measures())
    return columns_.measure(stream.inner, graph, program.cut_products(), cuts ? cuts->tokens : 1);
  while (markers_.size() < program.markers())
    markers_.push_back(marker(fmt::format("part {} with missing experts", markers_.size() + 1)));
  if (program.entries().empty()) {
    BRIMFUL_TRY_VOID(compute_runs(stream.inner, graph, program));
    columns_.digest(graph);
    return experts_ ? host_.files().check_unchanged() : Status{};
  }
  BRIMFUL_CHECK(stream_ != nullptr);
  Status status = stream_->begin(program.entries());
  if (status) {
    program.bind(*stream_);
    status = compute_runs(stream.inner, graph, program);
  }
  if (status) {
    stream_->end();
    // What was sent may be of another file: no tokens are better than wrong ones.
    status = host_.files().check_unchanged();
  }
  if (!status) stream_->abandon();
  return status;
}

Status GpuDevice::compute_runs(ggml_backend_t inner, const ggml_cgraph& graph, const Program& program) {
  const Status status = start_runs(inner, graph, program);
  ggml_backend_synchronize(inner);
  if (experts_) experts_->finish_copies();
  parts_.clear();
  return status;
}

Status GpuDevice::start_runs(ggml_backend_t inner, const ggml_cgraph& graph, const Program& program) {
  std::size_t arrived = 0;
  for (const Program::Segment& segment : program.segments()) {
    if (segment.entries_end > 0) BRIMFUL_TRY_VOID(stream_->wait(segment.entries_end));
    for (; arrived < segment.entries_end; ++arrived)
      clear_padding(inner, program.entries()[arrived], stream_->slot(arrived));
    if (abort_ != nullptr && abort_(abort_data_))
      return fail(ErrorCode::kCancelled, "the computation was cancelled");
    BRIMFUL_TRY_VOID(segment.ids != nullptr
                         ? compute_step(inner, graph, segment)
                         : compute_nodes(inner, graph, segment.nodes, segment.entries_end > 0));
    if (segment.entries_end == 0) continue;
    ggml_backend_synchronize(inner);  // nothing reads the slots any more
    stream_->release(segment.entries_end);
  }
  return {};
}

/// Queues zeros behind a weight that was sent, where the device wants some.
void GpuDevice::clear_padding(ggml_backend_t inner, const StreamEntry& entry, const std::byte* slot) {
  if (entry.padding == 0) return;
  if (zeros_.size() < entry.padding) {
    ggml_backend_synchronize(inner);  // it may still copy from the old zeros
    zeros_.assign(entry.padding, std::byte{0});
  }
  ggml_tensor* const ring = ggml_get_first_tensor(ring_context_.get());
  const auto offset = static_cast<std::size_t>(slot - static_cast<std::byte*>(ring->data));
  ggml_backend_tensor_set_async(inner, ring, zeros_.data(), offset + entry.span, entry.padding);
}

Status GpuDevice::compute_step(ggml_backend_t inner, const ggml_cgraph& graph, const GpuSegment& segment) {
  BRIMFUL_TRY_VOID(experts_->begin(inner, segment.group, *segment.ids));
  const std::span nodes(segment.nodes);
  const bool sent = segment.entries_end > 0;
  if (!experts_->lacks()) {
    BRIMFUL_TRY_VOID(compute_nodes(inner, graph, segment.nodes, sent));
    return experts_->admit();
  }
  // A back end that records graphs (CUDA's) knows a graph by its first node. These parts begin with nodes of
  // their own, so that they are not taken for the whole step, which is recorded, too.
  const auto part = [&](std::size_t number, std::size_t begin, std::size_t end) {
    std::vector<ggml_tensor*> out{segment.own_markers.empty() ? &markers_[segment.marker + number]
                                                              : segment.own_markers[number]};
    out.insert(out.end(), nodes.begin() + static_cast<std::ptrdiff_t>(begin),
               nodes.begin() + static_cast<std::ptrdiff_t>(end));
    return out;
  };
  // The host computes everything up to the last product for the rows that are missing, while the device
  // computes all rows: the wrong ones are overwritten behind it.
  if (!segment.chain.empty() && !sent) {
    const std::size_t behind = segment.product_nodes.back() + 1;
    experts_->read_input(*segment.products.front().node->src[1]);
    BRIMFUL_TRY_VOID(compute_nodes(inner, graph, part(0, 0, behind), sent));
    BRIMFUL_TRY_VOID(experts_->multiply_chain(inner, segment.chain, segment.products));
    if (behind < nodes.size())
      BRIMFUL_TRY_VOID(
          compute_nodes(inner, graph, part(segment.products.size(), behind, nodes.size()), sent));
    return experts_->admit();
  }
  std::size_t done = 0;
  std::size_t computed = 0;  // what stands before this node has been computed
  for (std::size_t i = 0; i < segment.products.size(); ++i) {
    const std::size_t behind = segment.product_nodes[i] + 1;
    BRIMFUL_TRY_VOID(compute_nodes(inner, graph, part(i, done, behind), sent));
    done = behind;
    // The device goes on while the host multiplies, unless it may still be computing the input.
    const ggml_tensor* input = segment.products[i].node->src[1];
    while (input->view_src != nullptr) input = input->view_src;
    const auto makes_input =
        [&](const ggml_tensor* node) {  // the last of its nodes, where it is cut by tokens
          const auto* const begin = static_cast<const std::byte*>(input->data);
          const auto* const data = static_cast<const std::byte*>(node->data);
          return node == input ||
                 (node->op == input->op && data >= begin && data < begin + ggml_nbytes(input));
        };
    const auto newest = nodes.subspan(computed, done - computed);
    if (std::ranges::any_of(newest, makes_input)) {
      ggml_backend_synchronize(inner);
      computed = done;
    }
    BRIMFUL_TRY_VOID(experts_->multiply(inner, segment.products, i));
  }
  if (done < nodes.size())
    BRIMFUL_TRY_VOID(compute_nodes(inner, graph, part(segment.products.size(), done, nodes.size()), sent));
  return experts_->admit();
}

/// Queues the nodes and does not wait for them. `sent`: some of their weights were sent.
Status GpuDevice::compute_nodes(ggml_backend_t inner, const ggml_cgraph& graph,
                                std::vector<ggml_tensor*> nodes, bool sent) {
  if (nodes.empty()) return {};
  GpuPart& part = parts_.emplace_back(graph, std::move(nodes));
  part.graph.nodes = part.nodes.data();
  part.graph.n_nodes = static_cast<int>(part.nodes.size());
  part.graph.n_leafs = 0;
  part.graph.leafs = nullptr;
  // Back ends take graphs with the same uid for the same graph, and need not compare them. This part is the
  // same where the whole graph is, but not where weights are sent: these move from slot to slot.
  const bool whole = part.graph.n_nodes == graph.n_nodes;
  if (sent) {
    part.graph.uid = 0;
  } else if (!whole && graph.uid != 0) {
    part.graph.uid = uid_of_part(graph.uid, part.nodes);
  }
  const ggml_status status = ggml_backend_graph_compute_async(inner, &part.graph);
  if (status == GGML_STATUS_SUCCESS) return {};
  return fail(ErrorCode::kInternal, fmt::format("{} could not compute the graph: {}",
                                                ggml_backend_name(inner), ggml_status_to_string(status)));
}

}  // namespace brimful::tier
