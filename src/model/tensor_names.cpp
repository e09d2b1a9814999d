#include "model/tensor_names.h"

#include <charconv>

namespace brimful::model {
namespace {

/// Removes `blk.N.` from the beginning of the name (with `enc.` or `dec.` before it), and returns N.
std::optional<int> take_layer(std::string_view& name) {
  std::string_view rest = name;
  if (rest.starts_with("enc.") || rest.starts_with("dec.")) rest.remove_prefix(4);
  if (!rest.starts_with("blk.")) return std::nullopt;
  rest.remove_prefix(4);
  int layer = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
  if (error != std::errc{} || layer < 0 || end == rest.data() + rest.size() || *end != '.')
    return std::nullopt;
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()) + 1);
  name = rest;
  return layer;
}

/// Returns whether the tensor is a single expert, as models before `_exps` had them: `ffn_up.7.weight`.
bool is_single_expert(std::string_view kind) {
  for (const std::string_view prefix : {"ffn_gate.", "ffn_up.", "ffn_down."}) {
    if (kind.starts_with(prefix) && kind.size() > prefix.size()) {
      const char next = kind[prefix.size()];
      return next >= '0' && next <= '9';
    }
  }
  return false;
}

Role layer_role(std::string_view kind, std::string_view base) {
  if (base.contains("norm")) return Role::kNorm;
  if (base.ends_with("exps") || is_single_expert(kind)) return Role::kExpert;
  if (base.starts_with("attn_") || base.starts_with("cross_attn_")) return Role::kAttention;
  if (base.starts_with("ffn_") || base == "ffn") return Role::kFeedForward;
  return Role::kOther;
}

Role model_role(std::string_view base) {
  if (base.contains("norm")) return Role::kNorm;
  if (base.ends_with("token_embd") || base == "position_embd" || base == "token_types")
    return Role::kTokenEmbedding;
  if (base == "output") return Role::kOutput;
  return Role::kOther;
}

}  // namespace

TensorName parse_tensor_name(std::string_view name) {
  TensorName result;
  result.layer = take_layer(name);
  result.kind = name;
  const std::string_view base = name.substr(0, name.find('.'));
  result.role = result.layer ? layer_role(name, base) : model_role(base);
  return result;
}

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kTokenEmbedding: return "token embedding";
    case Role::kOutput: return "output";
    case Role::kAttention: return "attention";
    case Role::kFeedForward: return "feed forward";
    case Role::kExpert: return "expert";
    case Role::kNorm: return "norm";
    case Role::kOther: return "other";
  }
  return "other";
}

}  // namespace brimful::model
