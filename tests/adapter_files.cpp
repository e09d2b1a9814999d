#include "adapter_files.h"

#include <gguf.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "model/model_profile.h"
#include "model/synth_tokenizer.h"
#include "model/synth_weights.h"

namespace strata::tests {
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

void write_lora(const std::filesystem::path& model, const std::filesystem::path& to, std::uint64_t seed) {
  const auto profile = model::read_model(model);
  ASSERT_TRUE(profile) << profile.error().message;
  const model::GgufPtr file(gguf_init_empty());
  gguf_set_val_str(file.get(), "general.type", "adapter");
  gguf_set_val_str(file.get(), "general.architecture", profile->architecture.c_str());
  gguf_set_val_str(file.get(), "adapter.type", "lora");
  gguf_set_val_f32(file.get(), "adapter.lora.alpha", 2.0F * kRank);

  const std::unique_ptr<ggml_context, GgmlFree> context(
      ggml_init({.mem_size = 2 * ggml_tensor_overhead() * profile->tensors.size(),
                 .mem_buffer = nullptr,
                 .no_alloc = true}));
  std::deque<std::vector<float>> numbers;
  model::SynthRandom random(seed);
  const auto add = [&](const std::string& name, std::int64_t rows_length, std::int64_t rows,
                       std::int64_t experts) {
    ggml_tensor* const tensor = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, rows_length, rows, experts);
    ggml_set_name(tensor, name.c_str());
    std::vector<float>& values = numbers.emplace_back(ggml_nelements(tensor));
    for (float& value : values) value = 0.05F * random.normal();
    tensor->data = values.data();
    gguf_add_tensor(file.get(), tensor);
  };
  for (const model::TensorInfo& tensor : profile->tensors) {
    if (!adapted(tensor)) continue;
    add(tensor.name + ".lora_a", tensor.shape[0], kRank, tensor.shape[2]);
    add(tensor.name + ".lora_b", kRank, tensor.shape[1], tensor.shape[2]);
  }
  ASSERT_FALSE(numbers.empty());
  ASSERT_TRUE(gguf_write_to_file(file.get(), to.c_str(), false));
}

}  // namespace strata::tests
