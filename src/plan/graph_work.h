#pragma once

#include <ggml.h>

#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace brimful::plan {

/// Products with weights of one kind, all of a graph together.
struct Products {
  ggml_type type = GGML_TYPE_F32;
  bool repacked = false;
  bool experts = false;        ///< chosen by a router
  double columns = 1;          ///< that each matrix is multiplied with; of experts, on average
  double multiplications = 0;  ///< multiply-adds
  std::int64_t row = 4096;     ///< weights of one row
};

/// What the graph of one pass computes, as recorded from it. No weight or value was looked at.
struct GraphWork {
  std::int64_t tokens = 1;
  std::vector<Products> products;
  std::int64_t cells = 0;  ///< of the KV cache, that `attention` goes over
  Bytes attention;         ///< keys and values read, once
  double attention_multiplications = 0;
  std::int64_t head = 0;  ///< values of one attention head's keys
  bool quantised_cache = false;
  Bytes elements;  ///< read and written by all other nodes
  std::int64_t nodes = 0;
  std::int64_t experts_used = 0;  ///< by one token, in one choice

  /// The same for `sequences` that each decode one token. Requires: tokens == 1.
  [[nodiscard]] GraphWork for_sequences(std::int64_t sequences) const;
};

}  // namespace brimful::plan
