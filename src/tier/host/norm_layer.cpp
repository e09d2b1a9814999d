#include "tier/host/norm_layer.h"

#include <charconv>
#include <string_view>

namespace brimful::tier {

std::optional<int> layer_of_norm(const ggml_tensor& op) {
  constexpr std::string_view kPrefix = "norm-";
  if (op.op != GGML_OP_NORM && op.op != GGML_OP_RMS_NORM) return std::nullopt;
  const std::string_view name = op.name;
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int layer = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, layer);
  if (error != std::errc() || stop != end) return std::nullopt;
  return layer;
}

}  // namespace brimful::tier
