#include "tier/host/layer_names.h"

#include <charconv>
#include <string_view>

namespace brimful::tier {
namespace {

/// The number that the whole text is.
std::optional<int> number(std::string_view text) {
  int out = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out);
  return error == std::errc() && stop == end ? std::optional(out) : std::nullopt;
}

}  // namespace

std::optional<int> layer_of_norm(const ggml_tensor& op) {
  constexpr std::string_view kPrefix = "norm-";
  if (op.op != GGML_OP_NORM && op.op != GGML_OP_RMS_NORM) return std::nullopt;
  const std::string_view name = op.name;
  return name.starts_with(kPrefix) ? number(name.substr(kPrefix.size())) : std::nullopt;
}

std::optional<int> layer_of_state(const ggml_tensor& tensor) {
  constexpr std::string_view kBefore = "_l";
  const std::string_view name = tensor.name;
  const std::size_t at = name.rfind(kBefore);
  if (!name.starts_with("cache_") || at == std::string_view::npos) return std::nullopt;
  return number(name.substr(at + kBefore.size()));
}

}  // namespace brimful::tier
