#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "model/gguf_checks.h"
#include "model/tensor_names.h"

namespace brimful::model {
namespace {

bool is_weight_type(ggml_type type) {
  switch (type) {
    case GGML_TYPE_I8:
    case GGML_TYPE_I16:
    case GGML_TYPE_I32:
    case GGML_TYPE_I64:
    case GGML_TYPE_F64: return false;
    default: return true;
  }
}

/// Returns whether the tensor is a table of token or expert numbers, which only GET_ROWS reads.
bool is_table(std::string_view base) {
  constexpr auto kTables =
      std::to_array<std::string_view>({"d2t", "t2d", "ffn_gate_tid2eid", "masked_embd_ordering"});
  return std::ranges::find(kTables, base) != kTables.end();
}

/// Returns whether kernels add the tensor to f32 activations, or multiply it with them, element by element.
bool must_be_f32(const GgufTensor& tensor, const TensorName& name, std::string_view base) {
  constexpr auto kElementwise = std::to_array<std::string_view>(
      {"attn_sinks", "exp_probs_b", "exp_probs_b_vl", "layer_output_scale", "rope_factors_long",
       "rope_factors_short", "rope_freqs", "ssm_a", "ssm_conv1d", "ssm_d"});
  if (name.role == Role::kNorm) return true;
  if (tensor.dimensions == 1 && name.kind.ends_with(".bias")) return true;
  return name.kind.starts_with("shortconv.conv") ||
         std::ranges::find(kElementwise, base) != kElementwise.end();
}

}  // namespace

Status check_tensor_types(const GgufHeader& header) {
  for (const GgufTensor& tensor : header.tensors) {
    const TensorName name = parse_tensor_name(tensor.name);
    const std::string_view base = name.kind.substr(0, name.kind.find('.'));
    const bool good = must_be_f32(tensor, name, base) ? tensor.type == GGML_TYPE_F32
                                                      : is_weight_type(tensor.type) || is_table(base);
    if (good) continue;
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("tensor {} has type {}, with which llama.cpp cannot compute: quantise the model again",
                    in_quotes(tensor.name), ggml_type_name(tensor.type)));
  }
  return {};
}

}  // namespace brimful::model
