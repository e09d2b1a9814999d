#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "model/adapter.h"
#include "model/gguf_reader.h"
#include "model/gguf_values.h"
#include "model/header_file.h"

namespace brimful::model {
namespace {

struct Pair {
  const GgufTensor* a = nullptr;
  const GgufTensor* b = nullptr;
};

Status check_keys(const HeaderFile& file, const ModelProfile& model) {
  const GgufValues values(file.header, file.bytes);
  BRIMFUL_TRY(const auto general, values.string("general.type"));
  BRIMFUL_TRY(const auto kind, values.string("adapter.type"));
  if (general != "adapter" || kind != "lora") {
    return fail(ErrorCode::kInvalidArgument, "is not a LoRA adapter in GGUF: convert the adapter first");
  }
  BRIMFUL_TRY(const auto architecture, values.string("general.architecture"));
  if (architecture != model.architecture) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("adapts a {} model, and {} is a {} model", in_quotes(architecture.value_or("")),
                            in_quotes(model.name), in_quotes(model.architecture)));
  }
  BRIMFUL_TRY(const auto alpha, values.f32("adapter.lora.alpha"));
  if (alpha && !std::isfinite(*alpha)) {
    return fail(ErrorCode::kCorrupt, "'adapter.lora.alpha' is not a finite number");
  }
  if (file.header.find("adapter.alora.invocation_tokens") != nullptr) {
    return fail(ErrorCode::kUnsupported, "is an activated LoRA (aLoRA), which brimful does not support");
  }
  return {};
}

Result<std::map<std::string, Pair>> pairs_of(const HeaderFile& file) {
  std::map<std::string, Pair> pairs;
  for (const GgufTensor& tensor : file.header.tensors) {
    const std::string_view name = tensor.name;
    if (name.ends_with("_norm.weight")) continue;  // libllama ignores these tensors.
    const bool a = name.ends_with(".lora_a");
    if (!a && !name.ends_with(".lora_b")) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("tensor {} is neither a '.lora_a' nor a '.lora_b'", in_quotes(name)));
    }
    if (tensor.type != GGML_TYPE_F32 && ggml_get_type_traits(tensor.type)->to_float == nullptr) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("tensor {} has type {}, with which llama.cpp cannot compute", in_quotes(name),
                              ggml_type_name(tensor.type)));
    }
    Pair& pair = pairs[std::string(name.substr(0, name.size() - std::string_view(".lora_a").size()))];
    (a ? pair.a : pair.b) = &tensor;
  }
  if (pairs.empty()) return fail(ErrorCode::kInvalidArgument, "holds no LoRA tensors");
  return pairs;
}

/// Returns whether b x a has the shape of the weight. For a token embedding, whose rows are picked one by
/// one, a lies the other way round.
bool fits(const Pair& pair, const TensorInfo& weight, bool embedding) {
  const auto& a = pair.a->shape;
  const auto& b = pair.b->shape;
  const std::array<std::int64_t, 4>& w = weight.shape;
  const bool plain = w[2] == 1 && a[2] == 1 && b[2] == 1;
  if (embedding) return plain && a[0] == b[0] && a[1] == w[1] && b[1] == w[0] && a[3] == 1 && b[3] == 1;
  return a[0] == w[0] && b[1] == w[1] && a[1] == b[0] && a[2] == w[2] && b[2] == w[2] && a[3] == 1 &&
         b[3] == 1 && w[3] == 1;
}

Status check_pair(const std::string& name, const Pair& pair, const ModelProfile& model) {
  if (pair.a == nullptr || pair.b == nullptr) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("has only one of the two tensors that adapt {}", in_quotes(name)));
  }
  const TensorInfo* const weight = model.find(name);
  if (weight == nullptr) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("adapts {}, which {} does not have: is it for another model?", in_quotes(name),
                            in_quotes(model.name)));
  }
  const bool embedding = name.ends_with("token_embd.weight");
  if (embedding && model.find("output.weight") == nullptr) {
    return fail(ErrorCode::kUnsupported,
                "adapts a token embedding that is also the output matrix, which llama.cpp does not support");
  }
  if (fits(pair, *weight, embedding)) return {};
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("its tensors for {} do not fit that weight: is it for another model?", in_quotes(name)));
}

Status check(const HeaderFile& file, const ModelProfile& model) {
  BRIMFUL_TRY_VOID(check_keys(file, model));
  BRIMFUL_TRY(const auto pairs, pairs_of(file));
  for (const auto& [name, pair] : pairs) BRIMFUL_TRY_VOID(check_pair(name, pair, model));
  return {};
}

}  // namespace

Result<LoraFile> read_lora(const std::filesystem::path& path, const ModelProfile& model) {
  BRIMFUL_TRY(const HeaderFile file, read_header(path));
  if (const Status checked = check(file, model); !checked) {
    return fail(checked.error().code, fmt::format("{}: {}", path.string(), checked.error().message));
  }
  LoraFile lora{.file = file.file, .weights = {}, .largest_tensor = {}};
  for (const GgufTensor& tensor : file.header.tensors) {
    lora.weights += tensor.bytes;
    lora.largest_tensor = std::max(lora.largest_tensor, tensor.bytes);
  }
  return lora;
}

}  // namespace brimful::model
