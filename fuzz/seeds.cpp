// Writes the headers with which fuzzing starts: those of made-up models, and small ones with a feature each.
// Usage: fuzz_gguf_seeds FOLDER

#include <fmt/format.h>
#include <algorithm>

#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "input.h"
#include "model/gguf_test_file.h"
#include "synth/synth.h"

namespace brimful::fuzz {
namespace {

using model::testing::add_model;
using model::testing::small_model;
using model::testing::TestFile;

class Folder {
 public:
  explicit Folder(std::filesystem::path path) : path_(std::move(path)) {
    std::filesystem::create_directories(path_);
  }

  void add(const std::vector<std::vector<std::byte>>& parts) {
    std::ofstream out(path_ / fmt::format("{:03}", count_++), std::ios::binary);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (i > 0) out << kPartMark;
      out.write(reinterpret_cast<const char*>(parts[i].data()),
                static_cast<std::streamsize>(parts[i].size()));
    }
    out.close();
    BRIMFUL_CHECK(out.good());
  }
  void add(const TestFile& file) { add({file.header()}); }

  [[nodiscard]] int count() const { return count_; }

 private:
  std::filesystem::path path_;
  int count_ = 0;
};

void add_made_up_models(Folder& folder) {
  for (const auto& shape : synth::synth_shapes()) {
    for (const std::uint32_t splits : {1U, 2U, 3U}) {
      const auto design = synth::design_synth({.like = std::string(shape.name),
                                               // Some need several.
                                               .layers = std::min(shape.layers, 4U),
                                               .vocabulary = synth::kMinSynthVocabulary,
                                               .splits = splits,
                                               .tokenizer_from = {},
                                               .chat_template = "{{ messages }}"});
      BRIMFUL_CHECK(design);
      std::vector<std::vector<std::byte>> parts;
      for (const auto& file : design->files) parts.push_back(file.header);
      folder.add(parts);
    }
  }
}

/// Makes the small model with another architecture.
TestFile model_like(const std::string& architecture) {
  TestFile file;
  file.text("general.architecture", architecture);
  const auto key = [&](std::string_view name) { return architecture + "." + std::string(name); };
  file.u32(key("block_count"), 2).u32(key("embedding_length"), 64).u32(key("context_length"), 128);
  file.u32(key("attention.head_count"), 4).u32(key("attention.head_count_kv"), 2);
  file.u32(key("attention.key_length"), 16).u32(key("attention.value_length"), 16);
  file.u32(key("rope.dimension_count"), 16).u32(key("expert_count"), 8).u32(key("expert_used_count"), 2);
  file.f32(key("attention.layer_norm_rms_epsilon"), 1e-5F).u32(key("ssm.group_count"), 1);
  file.u32(key("ssm.inner_size"), 128).u32(key("vocab_size"), 4).u32(key("num_loops"), 1);
  file.text(key("rope.scaling.type"), "yarn").u32(key("nextn_predict_layers"), 1);
  return file.tensor("token_embd.weight", {64, 4})
      .tensor("blk.0.ffn_up_exps.weight", {64, 64, 8}, GGML_TYPE_Q4_0);
}

void add_architectures(Folder& folder) {
  for (const char* name : {"llama",         "llama4",        "qwen2",     "qwen3",   "qwen3moe", "qwen3next",
                           "gemma3",        "phi3",          "deepseek2", "gpt-oss", "glm4moe",  "mamba2",
                           "falcon-h1",     "granitehybrid", "jamba",     "bert",    "t5",       "rwkv7",
                           "hunyuan-dense", "ernie4_5-moe",  "clip",      "new"}) {
    folder.add(model_like(name));
  }
  TestFile loops = model_like("llama");
  folder.add(
      loops.u32("llama.hrm.layers_per_stack", 1).u32("llama.hrm.h_cycles", 1).u32("llama.hrm.l_cycles", 1));
  TestFile groups = model_like("deepseek2");
  folder.add(groups.u32("deepseek2.expert_group_count", 4).u32("deepseek2.expert_group_used_count", 2));
  TestFile per_layer = small_model();
  per_layer.numbers<std::int32_t>("llama.attention.head_count", GGUF_TYPE_INT32, {4, 8});
  folder.add(per_layer.numbers<std::int32_t>("llama.attention.head_count_kv", GGUF_TYPE_INT32, {2, 0}));
}

void add_tokenizers(Folder& folder) {
  for (const char* name : {"llama", "gpt2", "bert", "t5", "rwkv", "plamo2", "none"}) {
    TestFile file = small_model();
    file.text("tokenizer.ggml.model", name).texts("tokenizer.ggml.merges", {"a b", "ab c"});
    file.numbers<std::uint8_t>("tokenizer.ggml.precompiled_charsmap", GGUF_TYPE_UINT8,
                               {4, 0, 0, 0, 1, 2, 3, 4, 0});
    file.u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.eos_token_id", 2);
    file.u32("tokenizer.ggml.seperator_token_id", 3).boolean("tokenizer.ggml.add_bos_token", true);
    file.boolean("tokenizer.ggml.add_eos_token", true).boolean("tokenizer.ggml.add_sep_token", false);
    folder.add(file.text("tokenizer.chat_template", "{{ messages[0].content }}"));
  }
}

void add_rwkv(Folder& folder) {
  TestFile file = small_model();
  file.remove("tokenizer.ggml.scores").remove("tokenizer.ggml.token_type");
  file.text("tokenizer.ggml.model", "rwkv");
  folder.add(file.texts("tokenizer.ggml.tokens", {"a", "\\n", "\\xe4", "\\\\", "\\x", "\\"}));
}

void add_formats(Folder& folder) {
  for (int type = 0; type <= GGML_TYPE_COUNT; ++type)
    folder.add(small_model().tensor("t", {512, 2, 3, 2}, type));
  for (const std::uint32_t alignment : {1U, 8U, 64U, 4096U, 1U << 20, 1U << 31, 3U, 0U}) {
    TestFile file;
    file.alignment = alignment == 0 ? 32 : alignment;
    folder.add(add_model(file.u32("general.alignment", alignment)));
  }
  TestFile values = small_model();
  values.number("a", GGUF_TYPE_INT8, std::int8_t{-1}).number("b", GGUF_TYPE_UINT64, UINT64_MAX);
  values.number("c", GGUF_TYPE_FLOAT64, 0.1).number("d", GGUF_TYPE_INT16, std::int16_t{-2});
  values.number("e", GGUF_TYPE_INT64, INT64_MIN).numbers<double>("f", GGUF_TYPE_FLOAT64, {0.5, 1e300});
  values.numbers<std::uint8_t>("g", GGUF_TYPE_BOOL, {0, 1, 2})
      .numbers<std::int64_t>("h", GGUF_TYPE_INT64, {});
  folder.add(values.texts("i", {"", "\x1b[2J", "\xff"}).f32("j", 0.1F).u16("k", 7));
  TestFile old = small_model();
  old.version = 2;
  folder.add(old);
  TestFile counts = small_model();
  counts.extra_tensors = counts.extra_keys = 1;
  folder.add(counts);
  TestFile huge = small_model();
  folder.add(huge.tensor("huge", {1 << 30, 1 << 20}).tensor("more", {1 << 30, 1 << 30}, GGML_TYPE_Q8_0));
}

/// Adds models with parts that do not belong together.
void add_wrong_parts(Folder& folder) {
  const auto part = [](std::uint16_t number, std::uint16_t parts, std::int32_t tensors) {
    return small_model()
        .u16("split.no", number)
        .u16("split.count", parts)
        .i32("split.tensors.count", tensors)
        .header();
  };
  folder.add({part(0, 2, 4), part(1, 2, 4)});  // Both parts have the same tensors.
  folder.add({part(0, 2, 5), part(1, 2, 5)});
  folder.add({part(0, 3, 4), part(1, 2, 4)});
  folder.add({part(1, 2, 4), part(0, 2, 4)});
  folder.add({part(0, 2, 2)});
}

int write_seeds(const char* path) {
  Folder folder(path);
  add_made_up_models(folder);
  add_architectures(folder);
  add_tokenizers(folder);
  add_rwkv(folder);
  add_formats(folder);
  add_wrong_parts(folder);
  fmt::print("{} seeds\n", folder.count());
  return 0;
}

}  // namespace
}  // namespace brimful::fuzz

int main(int count, char** arguments) {
  if (count == 2) return brimful::fuzz::write_seeds(arguments[1]);
  fmt::print(stderr, "usage: fuzz_gguf_seeds FOLDER\n");
  return 1;
}
