#include "results.h"

#include <ggml-cpp.h>
#include <ggml-impl.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "costs.h"

namespace brimful::timed_card {
namespace {

constexpr int kMostNodes = 1 << 15;
constexpr std::size_t kCleared = std::size_t{1} << 20;  // unknown results up to this size become zeros

const ggml_tensor& root_of(const ggml_tensor& tensor) {
  return tensor.view_src != nullptr ? *tensor.view_src : tensor;
}

bool is_weight(const ggml_tensor& tensor) {
  const ggml_tensor& root = root_of(tensor);
  return root.type == GGML_TYPE_I8 || ggml_is_quantized(root.type) ||
         (root.buffer != nullptr &&
          ggml_backend_buffer_get_usage(root.buffer) == GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
}

}  // namespace

Results::Results(bool everything)
    : everything_(everything),
      cpu_(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr)),
      context_(ggml_init({ggml_graph_overhead_custom(kMostNodes, false), nullptr, true})) {
  ggml_backend_reg_t const reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu_.get()));
  const auto set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(
      ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads"));
  set_threads(cpu_.get(), 1);
}

const void* Results::begin_of(const ggml_tensor& tensor) { return root_of(tensor).data; }

bool Results::keeps(const ggml_tensor& tensor, std::size_t piece) const {
  return everything_ || !is_weight(tensor) || ggml_nbytes(&tensor) <= kLargest || piece <= kLargest;
}

bool Results::unknown(const ggml_tensor* tensor) const {
  const std::scoped_lock lock(mutex_);
  return tensor != nullptr && unknown_.contains(begin_of(*tensor));
}

void Results::mark(const ggml_tensor& tensor, bool unknown) {
  const std::scoped_lock lock(mutex_);
  if (unknown) {
    unknown_.insert(begin_of(tensor));
  } else {
    unknown_.erase(begin_of(tensor));
  }
}

void Results::copied(const ggml_tensor& from, const ggml_tensor& to) { mark(to, unknown(&from)); }

bool Results::becomes_unknown(const ggml_tensor& node) const {
  if (everything_) return false;
  const ggml_tensor* const weights = weights_of(node);
  if (weights != nullptr && (ggml_nbytes(weights) > kLargest || ggml_nbytes(&root_of(*weights)) > kLargest))
    return true;
  return std::ranges::any_of(node.src, [&](const ggml_tensor* source) { return unknown(source); });
}

/// The operand that an addition leaves as it is, because the other one is unknown; null where the result is
/// unknown.
const ggml_tensor* Results::other_operand(const ggml_tensor& node) const {
  if (node.op != GGML_OP_ADD || unknown(node.src[0]) == unknown(node.src[1])) return nullptr;
  const ggml_tensor& known = unknown(node.src[0]) ? *node.src[1] : *node.src[0];
  const bool alike =
      ggml_are_same_shape(&known, &node) && ggml_is_contiguous(&known) && ggml_is_contiguous(&node);
  return alike && !is_weight(known) && known.type == node.type ? &known : nullptr;
}

ggml_status Results::compute(const ggml_cgraph& graph) {
  const std::scoped_lock lock(computing_);
  std::vector<ggml_tensor*> pending;
  for (int i = 0; i < graph.n_nodes; ++i) {
    ggml_tensor& node = *graph.nodes[i];
    if (is_view(node)) continue;
    if (!becomes_unknown(node)) {
      pending.push_back(&node);
      written(node);
      continue;
    }
    // What comes next may use the memory of what is pending.
    if (const ggml_status status = run(pending); status != GGML_STATUS_SUCCESS) return status;
    if (const ggml_tensor* const other = other_operand(node)) {
      if (other->data != node.data) std::memmove(node.data, other->data, ggml_nbytes(&node));
      written(node);
      continue;
    }
    if (node.view_src == nullptr && ggml_nbytes(&node) <= kCleared)
      std::memset(node.data, 0, ggml_nbytes(&node));
    mark(node, true);
  }
  return run(pending);
}

/// Computes the nodes and empties the list.
ggml_status Results::run(std::vector<ggml_tensor*>& nodes) {
  if (nodes.empty()) return GGML_STATUS_SUCCESS;
  ggml_reset(context_.get());
  ggml_cgraph* const graph = ggml_new_graph_custom(context_.get(), kMostNodes, false);
  for (ggml_tensor* const node : nodes) ggml_graph_add_node(graph, node);
  nodes.clear();
  return ggml_backend_graph_compute(cpu_.get(), graph);
}

}  // namespace brimful::timed_card
