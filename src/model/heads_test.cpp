#include "model/heads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace brimful::model {
namespace {

using testing::EndsWith;

/// A mixture like GLM-4.5 with four layers, of which the last one predicts further tokens.
ModelProfile mixture() {
  ModelProfile out;
  out.files.push_back({.path = "m.gguf"});
  out.architecture = "glm4moe";
  out.layers = 4;
  for (const char* const name :
       {"blk.2.ffn_gate_inp.weight", "blk.3.ffn_gate_inp.weight", "blk.3.nextn.eh_proj.weight",
        "blk.3.nextn.enorm.weight", "blk.3.nextn.hnorm.weight"}) {
    TensorInfo tensor;
    tensor.name = name;
    tensor.layer = name[4] - '0';
    tensor.bytes = Bytes{100};
    out.tensors.push_back(tensor);
  }
  return out;
}

std::string reason(const ModelProfile& profile) {
  const Status status = check_heads(profile);
  EXPECT_FALSE(status);
  if (status) return "";
  EXPECT_EQ(status.error().code, ErrorCode::kUnsupported);
  EXPECT_TRUE(status.error().message.starts_with("m.gguf: its own layers cannot draft: "));
  return status.error().message;
}

TEST(Heads, ArePossibleWhereLlamaCppCanBuildTheirGraph) { EXPECT_TRUE(check_heads(mixture())); }

TEST(Heads, AreRefusedWithWhatIsMissing) {
  for (const TensorInfo& tensor : mixture().tensors) {
    if (tensor.layer != 3 || tensor.name.ends_with("eh_proj.weight")) continue;
    ModelProfile less = mixture();
    std::erase_if(less.tensors, [&](const TensorInfo& other) { return other.name == tensor.name; });
    EXPECT_THAT(reason(less), EndsWith("tensor '" + tensor.name + "' is missing"));
  }
  ModelProfile none = mixture();
  none.tensors.erase(none.tensors.begin() + 2);
  EXPECT_THAT(reason(none), EndsWith("it has no layer that predicts further tokens"));
  ModelProfile two = mixture();
  two.tensors.push_back(two.tensors[2]);
  two.tensors.back().name = "blk.2.nextn.eh_proj.weight";
  EXPECT_THAT(reason(two), EndsWith("2 layers predict further tokens, and only one is supported"));
  ModelProfile other = mixture();
  other.architecture = "llama";
  EXPECT_THAT(reason(other), EndsWith("this is not supported for the architecture 'llama' yet"));
}

TEST(Heads, HaveTheWeightsOfTheLastLayers) {
  EXPECT_EQ(bytes_of_heads(mixture()), Bytes{400});
  EXPECT_EQ(head_layers(mixture()), 1U);
  ModelProfile none = mixture();
  none.tensors.erase(none.tensors.begin() + 2);
  EXPECT_EQ(bytes_of_heads(none), Bytes{});
}

}  // namespace
}  // namespace brimful::model
