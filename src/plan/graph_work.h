#pragma once

#include <ggml.h>

#include <cstdint>
#include <map>
#include <vector>

#include "base/bytes.h"

namespace brimful::plan {

/// All products of a graph with weights of one kind.
struct Products {
  ggml_type type = GGML_TYPE_F32;
  bool repacked = false;
  /// Whether a router chooses the weights.
  bool experts = false;
  /// Number of columns that each matrix is multiplied with; for experts, the average.
  double columns = 1;
  /// Multiply-adds.
  double multiplications = 0;
  /// Weights in one row.
  std::int64_t row = 4096;
};

/// What the graph of one pass computes, as recorded from it. No weight or value was read.
struct GraphWork {
  std::int64_t tokens = 1;
  std::vector<Products> products;
  /// Cells of the KV cache that `attention` reads.
  std::int64_t cells = 0;
  /// Bytes of the keys and values, each read once.
  Bytes attention;
  /// Multiply-adds.
  double attention_multiplications = 0;
  /// Number of values in the key of one attention head; 0 without fused attention.
  std::int64_t head = 0;
  /// Whether attention reads a quantised KV cache.
  bool quantised_cache = false;
  /// Bytes that all other nodes read and write.
  Bytes elements;
  std::int64_t nodes = 0;
  /// Experts that one token uses in one choice of a router; 0 for a dense model.
  std::int64_t experts_used = 0;
  /// Bytes of the KV cache, or of another state, that the context holds for each layer of the graph.
  std::map<int, Bytes> state_of_layers;

  /// The same work for `sequences` sequences that each decode one token. Requires: tokens == 1.
  [[nodiscard]] GraphWork for_sequences(std::int64_t sequences) const;
};

}  // namespace brimful::plan
