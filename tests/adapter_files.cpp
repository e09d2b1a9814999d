#include "adapter_files.h"

#include <fmt/format.h>
#include <gguf.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>

#include "model/model_profile.h"
#include "synth/tokenizer.h"
#include "synth/weights.h"

namespace brimful::tests {
namespace {

constexpr std::int64_t kRank = 4;

struct GgmlFree {
  void operator()(ggml_context* context) const { ggml_free(context); }
};

bool adapted(const model::TensorInfo& tensor) {
  using model::Role;
  const bool matrix = tensor.shape[1] > 1 && tensor.name.ends_with(".weight");
  const bool router = tensor.name.contains("ffn_gate_inp");
  return matrix && !router && tensor.layer.has_value() &&
         (tensor.role == Role::kAttention || tensor.role == Role::kFeedForward ||
          tensor.role == Role::kExpert);
}

}  // namespace

void AdapterFile::write(const std::filesystem::path& to, std::uint64_t seed) const {
  const synth::GgufPtr file(gguf_init_empty());
  for (const auto& [key, value] : keys) gguf_set_val_str(file.get(), key.c_str(), value.c_str());
  const std::unique_ptr<ggml_context, GgmlFree> context(ggml_init(
      {.mem_size = ggml_tensor_overhead() * (tensors.size() + 1), .mem_buffer = nullptr, .no_alloc = true}));
  std::deque<std::vector<float>> numbers;
  synth::SynthRandom random(seed);
  for (const Tensor& wanted : tensors) {
    ggml_tensor* const tensor = ggml_new_tensor(context.get(), wanted.type, 3, wanted.shape.data());
    ggml_set_name(tensor, wanted.name.c_str());
    std::vector<float>& values = numbers.emplace_back(static_cast<std::size_t>(ggml_nelements(tensor)));
    for (float& value : values) value = wanted.type == GGML_TYPE_F32 ? 0.05F * random.normal() : 0.0F;
    tensor->data = values.data();
    gguf_add_tensor(file.get(), tensor);
  }
  ASSERT_TRUE(gguf_write_to_file(file.get(), to.c_str(), false));
}

AdapterFile lora_for(const std::filesystem::path& model) {
  AdapterFile out;
  const auto profile = model::read_model(model);
  if (!profile) {
    ADD_FAILURE() << profile.error().message;
    return out;
  }
  out.keys = {
      {"general.type", "adapter"}, {"general.architecture", profile->architecture}, {"adapter.type", "lora"}};
  for (const model::TensorInfo& tensor : profile->tensors) {
    if (!adapted(tensor)) continue;
    out.tensors.push_back({tensor.name + ".lora_a", {tensor.shape[0], kRank, tensor.shape[2]}});
    out.tensors.push_back({tensor.name + ".lora_b", {kRank, tensor.shape[1], tensor.shape[2]}});
  }
  const auto vocabulary = std::int64_t{profile->vocabulary};
  out.tensors.push_back({"token_embd.weight.lora_a", {kRank, vocabulary, 1}});
  out.tensors.push_back({"token_embd.weight.lora_b", {kRank, std::int64_t{profile->embedding}, 1}});
  return out;
}

AdapterFile control_vector_for(const std::filesystem::path& model) {
  AdapterFile out;
  const auto profile = model::read_model(model);
  if (!profile) {
    ADD_FAILURE() << profile.error().message;
    return out;
  }
  for (std::uint32_t layer = 2; layer < profile->layers; ++layer) {
    out.tensors.push_back({fmt::format("direction.{}", layer), {std::int64_t{profile->embedding}, 1, 1}});
  }
  return out;
}

}  // namespace brimful::tests
