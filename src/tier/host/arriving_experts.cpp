#include "tier/host/arriving_experts.h"

#include <algorithm>

#include "base/check.h"
#include "tier/host/graph_nodes.h"

namespace brimful::tier {

bool ArrivingExperts::can_cut(const Segment& segment) const {
  std::size_t products = 0;
  for (const ExpertNode& expert : segment.experts) {
    const ggml_tensor& node = *segment.nodes[expert.node];
    const std::int64_t inputs = node.src[1]->ne[1];
    if (node.src[2]->ne[1] != 1 || (inputs != 1 && inputs != node.src[2]->ne[0])) return false;
    products += static_cast<std::size_t>(node.src[2]->ne[0]);
  }
  return products * kShadows <= shadows_.size();
}

Status ArrivingExperts::compute(const Segment& segment, const Calls& calls) {
  made_ = 0;
  ready_.clear();
  rearranged_.clear();
  pending_.clear();
  std::size_t expert = 0;
  for (std::size_t n = 0; n < segment.nodes.size(); ++n) {
    ggml_tensor* const node = segment.nodes[n];
    const bool has_experts = expert < segment.experts.size() && segment.experts[expert].node == n;
    // A product may overtake those before it only if it has the same input: the memory of another input may
    // be given to its result.
    const bool may_overtake =
        has_experts && !pending_.empty() && pending_.back().node->src[1] == node->src[1];
    if (!pending_.empty() && !computes_nothing(node) && !may_overtake)
      BRIMFUL_TRY_VOID(compute_pending(calls));
    if (has_experts) {
      add_arrived(node, segment.experts[expert++].part);
    } else {
      ready_.push_back(node);
    }
  }
  BRIMFUL_TRY_VOID(compute_pending(calls));
  calls.all_arrived();
  return compute_ready(calls);
}

/// Adds the product with the experts that are there, and notes the others.
void ArrivingExperts::add_arrived(ggml_tensor* node, std::uint32_t part) {
  const auto count = static_cast<std::size_t>(node->src[2]->ne[0]);
  std::size_t first = 0;  // of a row of experts that are there
  for (std::size_t position = 0; position < count; ++position) {
    if (experts_.arrived(part, position)) {
      rearrange(part, position);
      continue;
    }
    add(node, first, position - first);
    pending_.push_back({node, part, position});
    first = position + 1;
  }
  add(node, first, count - first);
}

/// Adds the product with `count` experts of the step, from the position `first` on.
void ArrivingExperts::add(ggml_tensor* node, std::size_t first, std::size_t count) {
  if (count == 0) return;
  const auto n = static_cast<std::int64_t>(count);
  if (n == node->ne[1]) {
    ready_.push_back(node);
    return;
  }
  ggml_tensor* const product = shadow(*node);
  product->ne[1] = n;
  product->data = static_cast<char*>(node->data) + first * node->nb[1];
  if (const ggml_tensor& input = *node->src[1]; input.ne[1] > 1) {
    product->src[1] = shadow(input);
    product->src[1]->ne[1] = n;
    product->src[1]->data = static_cast<char*>(input.data) + first * input.nb[1];
  }
  const ggml_tensor& ids = *node->src[2];
  product->src[2] = shadow(ids);
  product->src[2]->ne[0] = n;
  product->src[2]->data = static_cast<char*>(ids.data) + first * ids.nb[0];
  ready_.push_back(product);
}

/// Adds the rearranging of an expert's rows, where that is still to be done.
void ArrivingExperts::rearrange(std::uint32_t part, std::size_t position) {
  const auto rows = experts_.fresh(part, position);
  const std::pair key(part, position);
  if (!rows || std::ranges::find(rearranged_, key) != rearranged_.end()) return;
  rearranged_.push_back(key);
  if (table_.repacked(rows->tensor)) {
    const model::TensorInfo& info = table_.profile().tensors[rows->tensor];
    ggml_tensor* const weight =
        shadow(layout_.dressed_rows(info.type, info.shape[0], rows->rows, rows->data));
    ready_.push_back(shadow(layout_.repacking(weight)));
  }
}

Status ArrivingExperts::compute_ready(const Calls& calls) {
  BRIMFUL_TRY_VOID(calls.compute(ready_));
  ready_.clear();
  for (const auto& [part, position] : rearranged_) experts_.settle(part, position);
  rearranged_.clear();
  return {};
}

/// Computes until all experts of the pending products have arrived. The products with the last ones are ready
/// then, and not computed yet.
Status ArrivingExperts::compute_pending(const Calls& calls) {
  while (!pending_.empty()) {
    std::erase_if(pending_, [&](const Pending& one) {
      if (!experts_.arrived(one.part, one.position)) return false;
      rearrange(one.part, one.position);
      add(one.node, one.position, 1);
      return true;
    });
    if (pending_.empty()) break;
    BRIMFUL_TRY_VOID(ready_.empty() ? calls.wait() : compute_ready(calls));
  }
  return {};
}

ggml_tensor* ArrivingExperts::shadow(const ggml_tensor& of) {
  BRIMFUL_CHECK(made_ < shadows_.size());
  ggml_tensor* const made = &shadows_[made_++];
  *made = of;
  return made;
}

}  // namespace brimful::tier
