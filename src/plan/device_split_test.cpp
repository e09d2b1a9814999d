#include "plan/device_split.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace brimful::plan {
namespace {

constexpr int kLayers = 8;
constexpr std::int64_t kSize = 2048;
constexpr Bytes kKvOfLayer = kMiB;

/// A dense model with the usual tensors, in the order in which a layer uses them. Its matrices take 9.4 and
/// 2.4 MB, its norms 8 KiB each.
struct Dense {
  Dense() {
    profile.layers = kLayers;
    for (int layer = 0; layer < kLayers; ++layer) {
      const auto of_layer = [&](const char* name, model::Role role, std::int64_t columns, std::int64_t rows) {
        add("blk." + std::to_string(layer) + "." + name + ".weight", role, columns, rows, layer);
      };
      of_layer("attn_norm", model::Role::kNorm, kSize, 1);
      for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
        of_layer(name, model::Role::kAttention, kSize, kSize);
      of_layer("ffn_norm", model::Role::kNorm, kSize, 1);
      for (const char* name : {"ffn_gate", "ffn_up"})
        of_layer(name, model::Role::kFeedForward, kSize, 4 * kSize);
      of_layer("ffn_down", model::Role::kFeedForward, 4 * kSize, kSize);
    }
    add("output_norm.weight", model::Role::kNorm, kSize, 1, std::nullopt);
    add("output.weight", model::Role::kOutput, kSize, 512, std::nullopt);
    demand.kv_cache = kKvOfLayer * kLayers;
  }

  void add(std::string name, model::Role role, std::int64_t columns, std::int64_t rows,
           std::optional<int> layer) {
    model::TensorInfo tensor{.name = std::move(name),
                             .type = rows == 1 ? GGML_TYPE_F32 : GGML_TYPE_Q4_K,
                             .shape = {columns, rows, 1, 1},
                             .role = role,
                             .layer = layer};
    tensor.bytes = tensor.row_bytes() * static_cast<std::uint64_t>(rows);
    demand.uses.push_back({.tensor = static_cast<std::uint32_t>(profile.tensors.size()),
                           .by_rows = rows > 1,
                           .whole = rows == 1});
    profile.tensors.push_back(std::move(tensor));
  }

  /// What lies on a device that has `room` for weights, KV cache and a ring of 1 MiB.
  [[nodiscard]] DeviceShare share(Bytes room) const {
    DeviceBudget budget{.name = "CUDA0", .gpu = {}, .budget = room, .compute = Bytes{}, .ring = kMiB};
    budget.gpu.runtime = Bytes{};
    return split_devices(profile, demand, {budget}).devices.front();
  }

  /// How often the hidden state changes between host and device in a pass. Attention counts where the KV
  /// cache is: on the device for the first `share.layers` layers.
  [[nodiscard]] int crossings(const DeviceShare& share) const {
    int count = 0;
    bool on_device = false;  // a token begins on the host
    for (std::uint32_t i = 0; i < profile.tensors.size(); ++i) {
      const bool lies = std::ranges::find(share.tensors, i) != share.tensors.end();
      count += lies != on_device ? 1 : 0;
      on_device = lies;
    }
    return count + (on_device ? 1 : 0);
  }

  model::ModelProfile profile;
  HostDemand demand;
};

/// However much room there is, the hidden state crosses the link twice for the layers and the output, and at
/// most twice for what is left of the room, which is worth it.
TEST(DeviceSplit, CrossesTheLinkAsSeldomAsItCan) {
  const Dense model;
  int with_pieces = 0;
  for (std::uint64_t mib = 4; mib < 300; ++mib) {
    SCOPED_TRACE(testing::Message() << mib << " MiB");
    const DeviceShare share = model.share(kMiB * mib);
    const int crossings = model.crossings(share);
    EXPECT_LE(crossings, 6);
    with_pieces += crossings > 4 ? 1 : 0;
    EXPECT_EQ(share.weights + share.kv_cache + share.ring + share.unused, share.budget);
    // Half a layer takes 10.4 MB with its cache, or 28 MB; one of its larger matrices 9.4 MB.
    if (share.layers < kLayers) {
      EXPECT_LT(share.unused, kMiB * 10);
    }
  }
  EXPECT_GT(with_pieces, 0);
}

TEST(DeviceSplit, HasNoNormOfALayerThatTheHostComputes) {
  const Dense model;
  for (std::uint64_t mib = 4; mib < 300; mib += 7) {
    const DeviceShare share = model.share(kMiB * mib);
    for (const std::uint32_t tensor : share.tensors) {
      const model::TensorInfo& norm = model.profile.tensors[tensor];
      if (norm.role != model::Role::kNorm || !norm.layer) continue;
      EXPECT_NE(std::ranges::find(share.tensors, tensor + 1), share.tensors.end())
          << norm.name << ", " << mib << " MiB";
    }
  }
}

TEST(DeviceSplit, WhatIsLeftGoesToTheAttentionOfTheNextLayerOrToTheEndOfTheLast) {
  const Dense model;
  const auto names = [&](const DeviceShare& share) {
    std::vector<std::string> out;
    for (const std::uint32_t tensor : share.tensors) out.push_back(model.profile.tensors[tensor].name);
    return out;
  };
  const auto has = [&](const DeviceShare& share, const std::string& name) {
    const auto all = names(share);
    return std::ranges::find(all, name) != all.end();
  };
  const DeviceShare attention =
      model.share(kMiB * 52);  // a layer of 38.8 MB, its cache, the output, the ring
  EXPECT_EQ(attention.layers, 2U);
  EXPECT_TRUE(has(attention, "blk.1.attn_output.weight"));
  EXPECT_FALSE(has(attention, "blk.1.ffn_up.weight"));
  EXPECT_EQ(attention.kv_cache, kKvOfLayer * 2);
  const DeviceShare both = model.share(kMiB * 60);
  EXPECT_TRUE(has(both, "blk.7.ffn_down.weight"));
  EXPECT_FALSE(has(both, "blk.7.ffn_up.weight"));
}

}  // namespace
}  // namespace brimful::plan
