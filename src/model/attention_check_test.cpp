// Headers that contradict themselves about attention, experts or recurrent states. Each of them made
// libllama fail an assertion or loop without end, before our checks refused it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/gguf_checks.h"
#include "model/gguf_test_file.h"

namespace brimful::model {
namespace {

using ::testing::HasSubstr;
using testing::TestFile;

/// Returns the message with which the header is refused; empty when it is accepted.
std::string refusal(const TestFile& file) {
  const auto bytes = file.bytes();
  const auto parsed = parse_gguf(bytes, bytes.size());
  if (!parsed) return "not even parsed: " + parsed.error().message;
  const Status status = check_architecture(GgufValues(std::get<GgufHeader>(*parsed), bytes));
  return status ? "" : status.error().message;
}

/// A model of four layers with four heads of 64 elements.
class Model : public TestFile {
 public:
  explicit Model(std::string architecture) : architecture_(std::move(architecture)) {
    text("general.architecture", architecture_);
    set("block_count", 4).set("embedding_length", 256).set("attention.head_count", 4);
    set("attention.head_count_kv", 2).set("attention.key_length", 64).set("attention.value_length", 64);
  }
  Model& set(std::string_view key, std::uint32_t value) {
    u32(name(key), value);
    return *this;
  }
  Model& list(std::string_view key, const std::vector<std::int32_t>& values) {
    numbers(name(key), GGUF_TYPE_INT32, values);
    return *this;
  }
  Model& drop(std::string_view key) {
    remove(name(key));
    return *this;
  }

 private:
  [[nodiscard]] std::string name(std::string_view key) const {
    return architecture_ + "." + std::string(key);
  }
  std::string architecture_;
};

TEST(CheckAttention, RefusesRopeThatDoesNotFitIntoAHead) {
  EXPECT_EQ(refusal(Model("gemma3").set("rope.dimension_count", 32)), "");
  for (const std::uint32_t bad : {0U, 31U, 66U, 4096U, UINT32_MAX}) {
    EXPECT_THAT(refusal(Model("gemma3").set("rope.dimension_count", bad)), HasSubstr("of 64 elements"));
    EXPECT_THAT(refusal(Model("gemma3").set("rope.dimension_count_swa", bad)), HasSubstr("of 64 elements"));
  }
  EXPECT_EQ(refusal(Model("gemma3").set("attention.key_length_swa", 32).set("rope.dimension_count_swa", 32)),
            "");
  EXPECT_THAT(refusal(Model("gemma3").set("attention.key_length_swa", 32)), HasSubstr("turns 64 of 32"));
  EXPECT_THAT(refusal(Model("glm4moe")
                          .set("attention.key_length", 63)
                          .set("attention.value_length", 63)
                          .set("expert_count", 8)
                          .set("expert_used_count", 2)),
              HasSubstr("turns 63 of 63"));
}

TEST(CheckAttention, RefusesRopeSectionsThatDoNotFit) {
  EXPECT_EQ(refusal(Model("qwen2vl").list("rope.dimension_sections", {16, 24, 24, 0})), "");
  for (const std::vector<std::int32_t>& bad :
       {std::vector{0, 0, 0, 0}, {64, 64, 64, 0}, {INT32_MAX, INT32_MAX, 2, 0}}) {
    EXPECT_THAT(refusal(Model("qwen2vl").list("rope.dimension_sections", bad)), HasSubstr("of 64 elements"));
  }
  EXPECT_THAT(refusal(Model("qwen2vl").list("rope.dimension_sections", {16, -1, 24, 0})),
              HasSubstr("is not a number"));
}

TEST(CheckAttention, TakesSectionsOfZeroWhereRopeMayHaveOnePosition) {
  EXPECT_EQ(refusal(Model("glm4").list("rope.dimension_sections", {0, 0, 0, 0})), "");
  EXPECT_EQ(refusal(Model("glm4").list("rope.dimension_sections", {8, 12, 12, 0})), "");
  EXPECT_THAT(refusal(Model("glm4").list("rope.dimension_sections", {64, 64, 64, 0})),
              HasSubstr("of 64 elements"));
}

TEST(CheckAttention, RefusesWindowsWithoutALayer) {
  EXPECT_EQ(refusal(Model("gpt-oss").set("attention.sliding_window_pattern", 2)), "");
  EXPECT_EQ(refusal(Model("gpt-oss").list("attention.sliding_window_pattern", {0, 1, 0, 1})), "");
  EXPECT_THAT(refusal(Model("gpt-oss").set("attention.sliding_window_pattern", 1)), HasSubstr("no layer"));
  EXPECT_THAT(refusal(Model("gpt-oss").list("attention.sliding_window_pattern", {0, 0, 0, 0})),
              HasSubstr("no layer"));
}

TEST(CheckAttention, RefusesHeadsThatDoNotFillTheEmbedding) {
  EXPECT_EQ(refusal(Model("qwen2")), "");
  EXPECT_THAT(refusal(Model("qwen2").set("attention.head_count", 256)),
              HasSubstr("not the 256 of the embedding"));
  // The heads together may be wider than the embedding.
  EXPECT_EQ(refusal(Model("qwen3").set("attention.head_count", 8)), "");
  EXPECT_THAT(refusal(Model("gpt-oss").set("attention.value_length", 32)),
              HasSubstr("gpt-oss models do not allow"));
}

TEST(CheckAttention, RefusesOtherHeadsInWindowsWhereTheyMustBeTheSame) {
  EXPECT_EQ(refusal(Model("gpt-oss").set("attention.key_length_swa", 64)), "");
  for (const char* key :
       {"attention.key_length_swa", "attention.value_length_swa", "rope.dimension_count_swa"}) {
    EXPECT_THAT(refusal(Model("gpt-oss").set(key, 32)), HasSubstr("layers with a window have other"));
  }
}

TEST(CheckAttention, RefusesLatentAttentionThatDoesNotAddUp) {
  const auto latent = [] {
    Model model("deepseek2");
    model.set("attention.head_count_kv", 1)
        .set("attention.kv_lora_rank", 128)
        .set("rope.dimension_count", 32);
    model.set("attention.key_length", 160).set("attention.value_length", 128);
    model.set("attention.key_length_mla", 96).set("attention.value_length_mla", 64);
    return model;
  };
  EXPECT_EQ(refusal(latent()), "");
  EXPECT_THAT(refusal(latent().set("attention.key_length", 128)), HasSubstr("do not fit"));
  EXPECT_THAT(refusal(latent().set("attention.value_length", 64)), HasSubstr("do not fit"));
  EXPECT_THAT(refusal(latent().set("attention.key_length_mla", 32)), HasSubstr("do not fit"));
  Model flatter = latent();
  flatter.f32("deepseek2.attention.temperature_scale", 0.1F);
  EXPECT_THAT(refusal(flatter), HasSubstr("temperature_length' is missing or 0"));
  EXPECT_EQ(refusal(flatter.set("attention.temperature_length", 8192)), "");
  EXPECT_THAT(refusal(latent().drop("attention.head_count_kv")), HasSubstr("4 key-value heads"));
  EXPECT_THAT(refusal(latent().drop("attention.key_length_mla")), HasSubstr("1 key-value heads"));
}

TEST(CheckArchitecture, RefusesGatingThatLibllamaDoesNotKnow) {
  const auto experts = [](std::string architecture) {
    return Model(std::move(architecture)).set("expert_count", 8).set("expert_used_count", 2);
  };
  EXPECT_EQ(refusal(experts("glm4moe").set("expert_gating_func", 2)), "");
  // libllama replaces the 0 by a default.
  EXPECT_EQ(refusal(experts("glm4moe").set("expert_gating_func", 0)), "");
  EXPECT_EQ(refusal(experts("bailingmoe2").set("expert_gating_func", 2)), "");
  EXPECT_THAT(refusal(experts("bailingmoe2").set("expert_gating_func", 0)), HasSubstr("knows 1 to 4"));
  EXPECT_THAT(refusal(experts("dots1")), HasSubstr("knows 1 to 4"));
  for (const std::uint32_t bad : {5U, 255U, UINT32_MAX}) {
    EXPECT_THAT(refusal(experts("glm4moe").set("expert_gating_func", bad)), HasSubstr("knows 1 to 4"));
    // libllama never reads the key.
    EXPECT_EQ(refusal(experts("qwen3moe").set("expert_gating_func", bad)), "");
  }
}

TEST(CheckArchitecture, RefusesLoopsPastTheLayerLimit) {
  EXPECT_EQ(refusal(Model("nanbeige").set("num_loops", 2)), "");
  EXPECT_THAT(refusal(Model("nanbeige").set("num_loops", 129)), HasSubstr("129 times"));
  EXPECT_THAT(refusal(Model("nanbeige").set("num_loops", 0)), HasSubstr("'nanbeige.num_loops' is 0"));
  EXPECT_THAT(refusal(Model("hrm_text").set("hrm.layers_per_stack", 3)), HasSubstr("stacks"));
}

TEST(CheckArchitecture, RefusesZerosThatTheArchitectureDividesBy) {
  EXPECT_THAT(refusal(Model("rwkv7").set("wkv.head_size", 0)), HasSubstr("'rwkv7.wkv.head_size' is 0"));
  EXPECT_THAT(refusal(Model("mamba2").set("ssm.time_step_rank", 0)),
              HasSubstr("'mamba2.ssm.time_step_rank' is 0"));
}

TEST(CheckArchitecture, RefusesRecurrentStatesThatDoNotAddUp) {
  const auto recurrent = [] {
    return Model("qwen3next").set("ssm.state_size", 64).set("ssm.time_step_rank", 4);
  };
  EXPECT_EQ(refusal(recurrent().set("ssm.inner_size", 256)), "");
  EXPECT_THAT(refusal(recurrent().set("ssm.inner_size", 4096)), HasSubstr("not that of 4 heads of 64"));
}

}  // namespace
}  // namespace brimful::model
