#include "tier/gpu/single_columns.h"

#include <fmt/format.h>
#include <ggml-impl.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tier/host/graph_nodes.h"

namespace brimful::tier {
namespace {

// Of each token, so many bytes of a result are compared.
constexpr std::size_t kCompared = 16 << 10;
// Memory for the operands, the results and the lists of a check. An estimate.
constexpr Bytes kChecks{2 << 20};
constexpr std::size_t kDigestBlock = 64 << 10;

/// The bytes of a tensor for each of `tokens` tokens, which its last dimension counts.
std::size_t bytes_of_token(const ggml_tensor& tensor, std::int64_t tokens) {
  return ggml_nbytes(&tensor) / static_cast<std::size_t>(tokens);
}

bool is_plain(const ggml_tensor& tensor) {
  return tensor.type == GGML_TYPE_F32 && ggml_is_contiguous(&tensor) && tensor.data != nullptr;
}

/// Whether the operands of the product can be replaced by numbers of ours.
bool can_measure(const CutProduct& product) {
  const ggml_tensor& node = *product.node;
  if (!is_plain(node) || !is_plain(*node.src[1])) return false;
  if (node.op == GGML_OP_MUL_MAT_ID) return product.dimension == 2 && node.src[2]->type == GGML_TYPE_I32;
  return node.op == GGML_OP_MUL_MAT && product.dimension == 1 && node.ne[2] == 1 && node.ne[3] == 1 &&
         node.src[0]->ne[2] == 1 && node.src[0]->ne[3] == 1;
}

/// Computes one product in pieces, with other numbers in place of its input.
class Measurement {
 public:
  Measurement(ggml_backend_t queue, const ggml_cgraph& graph, const CutProduct& product, std::int64_t tokens)
      : queue_(queue), graph_(graph), product_(product), tokens_(tokens) {}

  /// The number of tokens that may be computed at once.
  Result<std::int64_t> tokens_with_equal_bits() {
    std::int64_t equal = tokens_;
    // Kernels may treat tokens that choose the same expert in another way than tokens that do not.
    const std::int64_t patterns = product_.node->op == GGML_OP_MUL_MAT_ID ? 2 : 1;
    for (std::int64_t pattern = 0; pattern < patterns && equal > 1; ++pattern) {
      set_input();
      if (product_.node->op == GGML_OP_MUL_MAT_ID) set_ids(pattern);
      BRIMFUL_TRY_VOID(compute(tokens_, 1));
      const std::vector<float> alone = result(tokens_);
      // Rows of zeros show no difference.
      const auto tells = [](float value) { return std::isfinite(value) && value != 0; };
      if (!std::ranges::all_of(alone, tells)) return 1;
      for (std::int64_t n = 2; n <= equal; ++n) {
        BRIMFUL_TRY_VOID(compute(n, n));
        const std::vector<float> together = result(n);
        if (std::memcmp(together.data(), alone.data(), together.size() * sizeof(float)) != 0) equal = n - 1;
      }
    }
    return equal;
  }

 private:
  /// Numbers that are about normally distributed, others for each token, and the same in every run.
  void set_input() {
    ggml_tensor* const input = product_.node->src[1];
    const std::size_t size = bytes_of_token(*input, tokens_);
    std::vector<float> values(size / sizeof(float));
    std::uint32_t state = 1;
    for (std::int64_t token = 0; token < tokens_; ++token) {
      for (float& value : values) {
        value = 0;
        for (int i = 0; i < 4; ++i) {
          state = state * 1664525U + 1013904223U;
          value += static_cast<float>(state >> 8) / static_cast<float>(1U << 24) - 0.5F;
        }
      }
      ggml_backend_tensor_set(input, values.data(), static_cast<std::size_t>(token) * size, size);
    }
  }

  /// Lets each token choose experts that differ: all tokens the same ones, or each token one further.
  void set_ids(std::int64_t step) {
    ggml_tensor* const ids = product_.node->src[2];
    const std::int64_t experts = product_.node->src[0]->ne[2];
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(ids->ne[0]));
    for (std::int64_t token = 0; token < tokens_; ++token) {
      for (std::size_t i = 0; i < chosen.size(); ++i)
        chosen[i] = static_cast<std::int32_t>((static_cast<std::int64_t>(i) + token * step) % experts);
      ggml_backend_tensor_set(ids, chosen.data(), static_cast<std::size_t>(token) * ids->nb[1],
                              chosen.size() * sizeof(std::int32_t));
    }
  }

  /// Computes the first `count` tokens, `together` at once.
  Status compute(std::int64_t count, std::int64_t together) {
    std::deque<ggml_tensor> copies;
    const BatchInvariance split;
    NodeCutter cutter(split, [&](const ggml_tensor& of) -> ggml_tensor& { return copies.emplace_back(of); });
    std::vector<ggml_tensor*> nodes;
    cutter.cut_first(product_.node, product_.dimension, count, together, nodes);
    ggml_cgraph part = graph_;
    part.nodes = nodes.data();
    part.n_nodes = static_cast<int>(nodes.size());
    part.n_leafs = 0;
    part.leafs = nullptr;
    part.uid = 0;
    if (ggml_backend_graph_compute(queue_, &part) == GGML_STATUS_SUCCESS) return {};
    return fail(ErrorCode::kInternal,
                fmt::format("{} could not compute '{}'", ggml_backend_name(queue_), product_.node->name));
  }

  /// The first numbers of the first `count` tokens.
  [[nodiscard]] std::vector<float> result(std::int64_t count) const {
    const std::size_t size = bytes_of_token(*product_.node, tokens_);
    const std::size_t some = std::min(size, kCompared) / sizeof(float);
    std::vector<float> out(some * static_cast<std::size_t>(count));
    for (std::size_t token = 0; token < static_cast<std::size_t>(count); ++token)
      ggml_backend_tensor_get(product_.node, out.data() + token * some, token * size, some * sizeof(float));
    return out;
  }

  ggml_backend_t queue_;
  const ggml_cgraph& graph_;
  const CutProduct& product_;
  const std::int64_t tokens_;
};

}  // namespace

void SingleColumns::begin_pass(bool on) {
  on_ = on;
  if (!on) return;
  split_.begin_pass();
  for (auto& [tokens, copies] : copies_) copies.used = 0;
}

void SingleColumns::forget() {
  split_.forget();
  copies_.clear();
  next_ = nullptr;
  recorded_ = false;
  copies_per_token_ = 0;
}

Status SingleColumns::record(const ggml_cgraph& graph) {
  if (!split_.learned()) return split_.learn(graph);
  BRIMFUL_TRY(const BatchInvariance::Cuts cuts, split_.match(graph));
  recorded_ = true;
  // The node, its input, and the choice of experts or the mask; a marker where experts are missing.
  constexpr std::size_t kOfProduct = 4;
  ++copies_per_token_;  // a marker
  copies_per_token_ +=
      kOfProduct * static_cast<std::size_t>(std::ranges::count_if(
                       cuts.dimension, [](std::uint8_t dimension) { return dimension != 0; }));
  return {};
}

Bytes SingleColumns::bytes(std::span<const std::uint32_t> tokens) const {
  if (!recorded_) return {};
  Bytes out = kChecks;
  for (const std::uint32_t count : tokens)
    out += NodeCutter::bytes_per_shadow() * (copies_per_token_ * count);
  return out;
}

void SingleColumns::begin_copies(std::int64_t tokens) { next_ = &copies_[tokens]; }

ggml_tensor& SingleColumns::copy(const ggml_tensor& of) {
  if (next_->used == next_->tensors.size()) {
    ++next_->used;
    return next_->tensors.emplace_back(of);
  }
  return next_->tensors[next_->used++] = of;
}

Status SingleColumns::measure(ggml_backend_t queue, const ggml_cgraph& graph,
                              std::span<const CutProduct> products, std::int64_t tokens) {
  ggml_backend_synchronize(queue);  // copies to the operands may be on their way
  for (const CutProduct& product : products) {
    const BatchInvariance::Kernel kernel = split_.kernel_of(*product.node, false);
    if (split_.trusted(kernel) || !can_measure(product)) continue;
    BRIMFUL_TRY(const std::int64_t together,
                Measurement(queue, graph, product, tokens).tokens_with_equal_bits());
    split_.trust(kernel, together);
  }
  return {};
}

void SingleColumns::digest(const ggml_cgraph& graph) {
  if (digested_tokens_ == 0) return;
  const auto count = static_cast<std::size_t>(digested_tokens_);
  if (digests_.size() < count) digests_.resize(count, 0);
  for (int n = graph.n_nodes - 1; n >= 0; --n) {
    const ggml_tensor& node = *graph.nodes[n];
    if (computes_nothing(&node) || node.view_src != nullptr || !ggml_is_contiguous(&node)) continue;
    const std::size_t size = bytes_of_token(node, digested_tokens_);
    if (size * count != ggml_nbytes(&node)) continue;
    std::vector<std::byte> block(std::min(size, kDigestBlock));
    for (std::size_t token = 0; token < count; ++token) {
      for (std::size_t at = 0; at < size; at += block.size()) {
        const std::size_t some = std::min(block.size(), size - at);
        ggml_backend_tensor_get(&node, block.data(), token * size + at, some);
        for (std::size_t i = 0; i < some; ++i) {  // FNV-1a
          constexpr std::uint64_t kPrime = 0x100000001b3;
          digests_[token] = (digests_[token] ^ static_cast<std::uint64_t>(block[i])) * kPrime;
        }
      }
    }
    return;
  }
}

std::vector<std::uint64_t> SingleColumns::take_digests() { return std::exchange(digests_, {}); }

}  // namespace brimful::tier
