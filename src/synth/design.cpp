#include "synth/design.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/check.h"
#include "synth/templates.h"

namespace brimful::synth {
namespace {

std::uint32_t size_of(Side side, const SynthShape& shape) {
  switch (side) {
    case Side::kLayers: return shape.layers;
    case Side::kEmbedding: return shape.embedding;
    case Side::kFeedForward: return shape.feed_forward;
    case Side::kHeads: return shape.heads;
    case Side::kKvHeads: return shape.kv_heads;
    case Side::kHeadSize: return shape.head_size;
    case Side::kHalfHead: return shape.head_size / 2;
    case Side::kQuery: return shape.heads * shape.head_size;
    case Side::kKeyValue: return shape.kv_heads * shape.head_size;
    case Side::kQueryKeyValue: return (shape.heads + 2 * shape.kv_heads) * shape.head_size;
    case Side::kExperts: return shape.experts;
    case Side::kExpertsUsed: return shape.experts_used;
    case Side::kExpertFeedForward: return shape.expert_feed_forward;
    case Side::kVocabulary: return shape.vocabulary;
    case Side::kContext: return shape.context;
  }
  return 0;
}

/// Writes one key. std::visit calls it with the value of the key's template.
struct KeyWriter {
  gguf_context* to;
  const SynthShape& shape;
  std::string key;

  void operator()(Length length) const { gguf_set_val_u32(to, key.c_str(), length.in(shape)); }
  void operator()(Real real) const { (*this)(real == Real::kRopeBase ? shape.rope_base : shape.rms_epsilon); }
  void operator()(float value) const { gguf_set_val_f32(to, key.c_str(), value); }
  void operator()(bool value) const { gguf_set_val_bool(to, key.c_str(), value); }
  void operator()(std::string_view value) const {
    gguf_set_val_str(to, key.c_str(), std::string(value).c_str());
  }
};

}  // namespace

std::uint32_t Length::in(const SynthShape& shape) const {
  return static_cast<std::uint32_t>(number_) * (side_ ? size_of(*side_, shape) : 1);
}

std::uint32_t SynthDesign::fewest_layers() const {
  return std::max(leading_layers + last_layers + 1, attention_interval);
}

bool SynthDesign::in_set(LayerSet set, std::uint32_t layer, std::uint32_t all) const {
  switch (set) {
    case LayerSet::kAll: return true;
    case LayerSet::kLeading: return layer < leading_layers;
    case LayerSet::kAfterLeading: return layer >= leading_layers;
    case LayerSet::kLast: return layer >= all - last_layers;
    case LayerSet::kAttention: return (layer + 1) % attention_interval == 0;
    case LayerSet::kRecurrent: return (layer + 1) % attention_interval != 0;
  }
  return false;
}

const SynthDesign& find_synth_design(std::string_view name) {
  const SynthDesign* found = nullptr;
  for (const auto designs : {dense_designs(), expert_designs(), recurrent_designs(), encoder_designs()}) {
    for (const SynthDesign& design : designs) {
      if (design.name == name) found = &design;
    }
  }
  BRIMFUL_CHECK(found != nullptr);
  return *found;
}

void add_synth_keys(gguf_context* to, const SynthDesign& design, const SynthShape& shape) {
  for (const std::span<const KeyTemplate> keys : design.keys) {
    for (const KeyTemplate& key : keys) {
      std::visit(KeyWriter{to, shape, fmt::format("{}.{}", design.architecture, key.name)}, key.value);
    }
  }
}

}  // namespace brimful::synth
