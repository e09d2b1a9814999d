#include "quantise/sensitivity.h"

#include <algorithm>
#include <array>
#include <utility>

namespace brimful::quantise {

std::string_view kind_of(const model::TensorInfo& tensor) {
  const std::string_view name = tensor.name;
  if (!tensor.layer) return name;
  const std::size_t dot = name.find('.', name.find('.') + 1);
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

double usual_sensitivity(const model::TensorInfo& tensor, std::uint32_t layers) {
  constexpr double kMeasuredLayers = 6;
  constexpr double kOther = 0.2;  // as a matrix of the feed-forward network
  constexpr std::array<std::pair<std::string_view, double>, 8> kKnown{{
      {"output", 1.2},
      {"token_embd", 0.66},
      {"attn_qkv", 0.15},
      {"attn_q.", 0.035},
      {"attn_k.", 0.04},
      {"attn_v.", 0.31},
      {"attn_output", 0.12},
      {"ffn_down", 0.23},
  }};
  const std::string_view kind = kind_of(tensor);
  const auto* const known =
      std::ranges::find_if(kKnown, [&](const auto& entry) { return kind.starts_with(entry.first); });
  const double value = known == kKnown.end() ? kOther : known->second;
  return tensor.layer ? value * kMeasuredLayers / std::max<double>(layers, 1) : value;
}

}  // namespace brimful::quantise
