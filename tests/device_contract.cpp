#include "device_contract.h"

#include <ggml-impl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>

namespace brimful::tests {
namespace {

constexpr std::int64_t kRowPadding = 512;  // MATRIX_ROW_PADDING of ggml-cuda

thread_local bool has_device = false;

void check_padding(const ggml_tensor& weight) {
  if (!ggml_is_quantized(weight.type) || weight.view_src != nullptr) return;
  const auto* const data = static_cast<const std::byte*>(weight.data);
  const std::size_t bytes = ggml_nbytes(&weight);
  const std::size_t padded = DeviceContract::alloc_size(weight);
  EXPECT_TRUE(std::all_of(data + bytes, data + padded, [](std::byte byte) { return byte == std::byte{0}; }))
      << weight.name << ": the padding behind its last row is not zero";
}

/// ggml's kernel for more than a few tokens leaves rows unwritten where a token names an expert twice.
void check_ids(const ggml_tensor& product) {
  const ggml_tensor& ids = *product.src[2];
  const std::int64_t experts = product.src[0]->ne[2];
  for (std::int64_t token = 0; token < ids.ne[1]; ++token) {
    std::set<std::int32_t> of_token;
    for (std::int64_t rank = 0; rank < ids.ne[0]; ++rank) {
      std::int32_t id = 0;
      std::memcpy(&id,
                  static_cast<const std::byte*>(ids.data) + static_cast<std::size_t>(rank) * ids.nb[0] +
                      static_cast<std::size_t>(token) * ids.nb[1],
                  sizeof id);
      EXPECT_TRUE(id >= 0 && id < experts) << product.name << ": there is no expert " << id;
      EXPECT_TRUE(of_token.insert(id).second)
          << product.name << ": token " << token << " has expert " << id << " twice";
    }
  }
}

}  // namespace

std::size_t DeviceContract::alloc_size(const ggml_tensor& tensor) {
  std::size_t size = ggml_nbytes(&tensor);
  const std::int64_t over = tensor.ne[0] % kRowPadding;
  if (ggml_is_quantized(tensor.type) && over != 0) size += ggml_row_size(tensor.type, kRowPadding - over);
  return size;
}

void DeviceContract::check(const ggml_tensor& node) {
  if (node.op == GGML_OP_MUL_MAT || node.op == GGML_OP_MUL_MAT_ID) check_padding(*node.src[0]);
  if (node.op == GGML_OP_MUL_MAT_ID) check_ids(node);
}

void DeviceContract::queued(const ggml_cgraph& graph) {
  const std::scoped_lock lock(mutex_);
  std::vector<const void*> content;
  for (int n = 0; n < graph.n_nodes; ++n) {
    const ggml_tensor& node = *graph.nodes[n];
    if (node.data != nullptr && !ggml_is_empty(&node))
      unfinished_.emplace(graph.nodes, Range{static_cast<const std::byte*>(node.data), ggml_nbytes(&node)});
    content.push_back(&node);
    content.push_back(node.data);
    for (const ggml_tensor* const src : node.src) content.push_back(src != nullptr ? src->data : nullptr);
  }
  std::vector<const void*>& known = graphs_[graph.nodes[0]];
  if (known != content) {
    known = std::move(content);
    ++recorded_;
  }
}

void DeviceContract::computed(const ggml_cgraph& graph) {
  const std::scoped_lock lock(mutex_);
  unfinished_.erase(graph.nodes);
}

void DeviceContract::check_read(const std::byte* begin, std::size_t size) {
  const std::scoped_lock lock(mutex_);
  EXPECT_TRUE(std::ranges::none_of(unfinished_, [&](const auto& one) {
    const Range& range = one.second;
    return begin < range.begin + range.size && range.begin < begin + size;
  })) << "a result is read that may not have been computed yet";
}

void DeviceContract::chosen() { has_device = true; }

void DeviceContract::check_chosen() {
  EXPECT_TRUE(has_device) << "a copy in a thread that has chosen no device starts a driver on the first card";
}

int DeviceContract::recorded() const {
  const std::scoped_lock lock(mutex_);
  return recorded_;
}

int DeviceContract::graphs() const {
  const std::scoped_lock lock(mutex_);
  return static_cast<int>(graphs_.size());
}

}  // namespace brimful::tests
