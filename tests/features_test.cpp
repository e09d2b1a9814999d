// Features of a context besides decoding give bit for bit the results of plain llama.cpp, at small budgets.

#include <gtest/gtest.h>

#include <functional>

#include "adapter_files.h"
#include "synth_model.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

using Outputs = std::vector<std::vector<float>>;
/// Does something with a context, and returns all of its results.
using Script = std::function<Outputs(llama_context*)>;

void append(Outputs& to, Outputs more) { to.insert(to.end(), more.begin(), more.end()); }

/// Appends tokens to one sequence. Returns the logits of the last one.
Outputs feed(llama_context* context, llama_seq_id sequence, llama_pos position, std::size_t first,
             std::size_t count) {
  const std::vector<llama_token> tokens = some_tokens(context, first + count);
  SequenceBatch batch;
  batch.add(sequence, position, {tokens.begin() + static_cast<std::ptrdiff_t>(first), tokens.end()});
  return outputs_of(context, batch);
}

class Feature : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    path_ = synth_model(directory_, {.like = GetParam()});
    ASSERT_FALSE(path_.empty());
  }

  /// Runs `script` on plain llama.cpp, and on our device at half of the weights and at the least.
  void expect_same(const Settings& settings, const Script& script) {
    const PlainModel plain(path_, settings);
    ASSERT_NE(plain.context(), nullptr);
    expected_ = script(plain.context());
    ASSERT_FALSE(expected_.empty());
    for (const Outputs::value_type& output : expected_) ASSERT_FALSE(output.empty());
    for (const unsigned percent : {50U, 0U}) {
      SCOPED_TRACE(testing::Message() << percent << "% of the weights");
      auto tiered = TieredModel::load(path_, settings, percent_of_weights(percent));
      ASSERT_TRUE(tiered) << tiered.error().message;
      EXPECT_TRUE((*tiered)->streams());
      EXPECT_TRUE(script((*tiered)->context()) == expected_);
    }
  }

  const TemporaryDirectory directory_;
  std::filesystem::path path_;
  Outputs expected_;  ///< The results of the script on plain llama.cpp.
};

constexpr Settings kSettings{.threads = 1, .sequences = 4, .outputs = 4};

Outputs prompt_and_steps(llama_context* context) {
  llama_memory_clear(llama_get_memory(context), true);
  Outputs out = feed(context, 0, 0, 0, 40);
  append(out, feed(context, 0, 40, 40, 1));
  append(out, feed(context, 0, 41, 41, 1));
  return out;
}

TEST_P(Feature, Lora) {
  const auto first = directory_.path() / "first.gguf";
  const auto second = directory_.path() / "second.gguf";
  lora_for(path_).write(first, 1);
  lora_for(path_).write(second, 2);
  expect_same(kSettings, [&](llama_context* context) {
    auto* const model = const_cast<llama_model*>(llama_get_model(context));
    Outputs out = prompt_and_steps(context);
    llama_adapter_lora* adapters[] = {llama_adapter_lora_init(model, first.c_str()),
                                      llama_adapter_lora_init(model, second.c_str())};
    if (adapters[0] == nullptr || adapters[1] == nullptr) return Outputs{};
    float scales[] = {1.0F, -0.5F};
    for (const std::size_t active : {1U, 2U, 0U}) {
      if (llama_set_adapters_lora(context, adapters, active, scales) != 0) return Outputs{};
      append(out, prompt_and_steps(context));
    }
    return out;
  });
  ASSERT_EQ(expected_.size(), 12U);
  EXPECT_NE(expected_[3], expected_[0]);  // The adapters change the result.
  EXPECT_NE(expected_[6], expected_[3]);
  EXPECT_EQ(expected_[9], expected_[0]);  // They can be removed again.
}

TEST_P(Feature, ControlVector) {
  expect_same(kSettings, [&](llama_context* context) {
    const llama_model* const model = llama_get_model(context);
    const std::int32_t embedding = llama_model_n_embd(model);
    const std::int32_t layers = llama_model_n_layer(model);
    std::vector<float> directions(static_cast<std::size_t>(embedding) * static_cast<std::size_t>(layers));
    for (std::size_t i = 0; i < directions.size(); ++i) directions[i] = 0.1F * static_cast<float>(i % 7);
    Outputs out = prompt_and_steps(context);
    for (const float* data :
         {static_cast<const float*>(directions.data()), static_cast<const float*>(nullptr)}) {
      if (llama_set_adapter_cvec(context, data, directions.size(), embedding, 1, layers) != 0)
        return Outputs{};
      append(out, prompt_and_steps(context));
    }
    return out;
  });
  ASSERT_EQ(expected_.size(), 9U);
  EXPECT_NE(expected_[3], expected_[0]);
  EXPECT_EQ(expected_[6], expected_[0]);
}

TEST_P(Feature, FlashAttentionAndQuantisedCache) {
  for (const llama_flash_attn_type flash : {LLAMA_FLASH_ATTN_TYPE_ENABLED, LLAMA_FLASH_ATTN_TYPE_DISABLED}) {
    for (const ggml_type cache : {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0}) {
      // libllama refuses quantised values without flash attention.
      if (flash == LLAMA_FLASH_ATTN_TYPE_DISABLED && cache != GGML_TYPE_F16) continue;
      SCOPED_TRACE(testing::Message() << llama_flash_attn_type_name(flash) << ", " << ggml_type_name(cache));
      Settings settings = kSettings;
      settings.flash_attention = flash;
      settings.cache_type = cache;
      expect_same(settings, prompt_and_steps);
    }
  }
}

TEST_P(Feature, ContextShift) {
  expect_same(kSettings, [](llama_context* context) {
    llama_memory_t const memory = llama_get_memory(context);
    Outputs out = prompt_and_steps(context);
    if (!llama_memory_can_shift(memory)) return Outputs{};
    // Drops positions 4 to 19 and moves what follows to their place.
    if (!llama_memory_seq_rm(memory, 0, 4, 20)) return Outputs{};
    llama_memory_seq_add(memory, 0, 20, -1, -16);
    append(out, feed(context, 0, 26, 50, 1));
    append(out, feed(context, 0, 27, 51, 30));
    return out;
  });
}

TEST_P(Feature, SharedPrefix) {
  expect_same(kSettings, [](llama_context* context) {
    llama_memory_t const memory = llama_get_memory(context);
    Outputs out = prompt_and_steps(context);
    llama_memory_seq_cp(memory, 0, 1, -1, -1);
    append(out, feed(context, 1, 42, 60, 5));
    append(out, feed(context, 0, 42, 70, 1));
    llama_memory_seq_keep(memory, 1);
    append(out, feed(context, 1, 47, 80, 1));
    return out;
  });
}

TEST_P(Feature, StateOfASequence) {
  expect_same(kSettings, [](llama_context* context) {
    Outputs out = prompt_and_steps(context);
    std::vector<std::uint8_t> state(llama_state_seq_get_size(context, 0));
    if (llama_state_seq_get_data(context, state.data(), state.size(), 0) != state.size()) return Outputs{};
    out.emplace_back(state.begin(), state.end());  // Its bytes equal those of plain llama.cpp, too.
    append(out, feed(context, 0, 42, 90, 10));
    const Outputs uninterrupted = feed(context, 0, 52, 100, 1);
    llama_memory_clear(llama_get_memory(context), true);
    if (llama_state_seq_set_data(context, state.data(), state.size(), 2) != state.size()) return Outputs{};
    append(out, feed(context, 2, 42, 90, 10));
    append(out, feed(context, 2, 52, 100, 1));
    return out.back() == uninterrupted.back() ? out : Outputs{};
  });
}

TEST_P(Feature, StateOfTheWholeContext) {
  expect_same(kSettings, [](llama_context* context) {
    Outputs out = prompt_and_steps(context);
    append(out, feed(context, 1, 0, 100, 12));
    std::vector<std::uint8_t> state(llama_state_get_size(context));
    state.resize(llama_state_get_data(context, state.data(), state.size()));
    const Outputs first = feed(context, 0, 42, 120, 1);
    const Outputs second = feed(context, 1, 12, 130, 7);
    llama_memory_clear(llama_get_memory(context), true);
    if (llama_state_set_data(context, state.data(), state.size()) != state.size()) return Outputs{};
    if (feed(context, 0, 42, 120, 1) != first || feed(context, 1, 12, 130, 7) != second) return Outputs{};
    append(out, first);
    append(out, second);
    return out;
  });
}

// The models are: dense with RoPE factors; experts; latent attention, experts and a dense layer; sliding
// windows, sinks and biases; a recurrent state beside attention.
INSTANTIATE_TEST_SUITE_P(All, Feature,
                         testing::Values("llama", "qwen3moe", "deepseek2", "gpt-oss", "falcon-h1"),
                         test_name);

}  // namespace
}  // namespace brimful::tests
