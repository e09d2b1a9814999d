#include "plan/kv_placement.h"

#include <gtest/gtest.h>

#include <vector>

namespace brimful::plan {
namespace {

/// Weights cost 20 units on the host and 3 on the device for each MiB, and cells `cells` and 3.
StepCosts costs_with(double cells, double detour = 0) {
  const auto mib = static_cast<double>(kMiB.value);
  return {.weights_on_host = 20 / mib,
          .weights_on_device = 3 / mib,
          .cells_on_host = cells / mib,
          .cells_on_device = 3 / mib,
          .detour = detour};
}

std::vector<LayerBytes> layers(std::size_t count, std::uint64_t weights, std::uint64_t cells) {
  return std::vector<LayerBytes>(count, {kMiB * weights, kMiB * cells});
}

TEST(LayersWithCells, CellsThatCostTheCoresMoreThanWeightsComeFirst) {
  const auto all = layers(8, 100, 30);
  EXPECT_EQ(layers_with_cells(all, kMiB * 240, costs_with(50)), 8U) << "and no weights beside them";
  EXPECT_EQ(layers_with_cells(all, kMiB * 100, costs_with(50)), 3U) << "as many as fit";
  EXPECT_EQ(layers_with_cells(all, kMiB * 29, costs_with(50)), 0U);
}

TEST(LayersWithCells, WeightsThatCostTheCoresMoreThanCellsComeFirst) {
  const auto all = layers(8, 100, 30);
  EXPECT_EQ(layers_with_cells(all, kMiB * 400, costs_with(5)), 0U) << "four layers of weights fit";
  EXPECT_EQ(layers_with_cells(all, kMiB * 460, costs_with(5)), 2U) << "and what they leave is for cells";
  EXPECT_EQ(layers_with_cells(all, kMiB * 1040, costs_with(5)), 8U) << "all of both fit";
}

TEST(LayersWithCells, AWayThereAndBackMustPay) {
  const auto all = layers(8, 100, 30);
  // A layer's cells save 30 * 47 units on the device, and its weights 100 * 17.
  EXPECT_EQ(layers_with_cells(all, kMiB * 90, costs_with(50, 400)), 3U);
  EXPECT_EQ(layers_with_cells(all, kMiB * 90, costs_with(50, 1500)), 0U);
  EXPECT_EQ(layers_with_cells(all, kMiB * 90, costs_with(50, 1300)), 0U) << "a step of 28000 units saves 330";
  EXPECT_EQ(layers_with_cells(all, kMiB * 240, costs_with(50, 1800)), 1U) << "beside the weights of a layer";
}

TEST(LayersWithCells, OfAMixtureNeedNoWayOfTheirOwn) {
  auto all = layers(4, 10, 30);
  for (LayerBytes& layer : all) layer.left_anyway = true;
  // The weights of all layers save 4 * 170 units, which pays for no way but the one that their cells pay for.
  EXPECT_EQ(layers_with_cells(all, kMiB * 160, costs_with(50, 1000)), 4U);
}

TEST(LayersWithCells, LayersWithoutCellsAreLeftOut) {
  auto all = layers(6, 100, 30);
  for (const std::size_t without : {1U, 2U, 4U, 5U}) all[without].cells = {};
  EXPECT_EQ(layers_with_cells(all, kMiB * 60, costs_with(50)), 4U)
      << "the fourth layer is the last one with cells";
}

GraphWork step_of(double heads) {
  // Cells of 4 bytes: a key and a value in F16, which `heads` query heads use.
  return {.cells = 256, .attention = Bytes{4000}, .attention_multiplications = 2000 * heads, .head = 128};
}

const StepRates kRates{.weights_on_host = 1 / 45e9,
                       .attention = {.decode_multiplications_per_s = 60e9},
                       .quantised_attention = {.decode_multiplications_per_s = 20e9},
                       .host_memory = 45e9,
                       .device_memory = 300e9};

TEST(StepCosts, AttentionOfManyHeadsIsLimitedByTheCoresAndOfFewByMemory) {
  EXPECT_DOUBLE_EQ(step_costs(kRates, step_of(8))->cells_on_host, kUsedShareOfContext * 4 / 60e9);
  EXPECT_DOUBLE_EQ(step_costs(kRates, step_of(1))->cells_on_host, kUsedShareOfContext / 45e9);
  EXPECT_DOUBLE_EQ(step_costs(kRates, step_of(8))->cells_on_device, kUsedShareOfContext / 300e9);
  GraphWork quantised = step_of(8);
  quantised.quantised_cache = true;
  EXPECT_DOUBLE_EQ(step_costs(kRates, quantised)->cells_on_host, kUsedShareOfContext * 4 / 20e9);
  EXPECT_FALSE(step_costs(kRates, GraphWork{})) << "a model without attention";
}

}  // namespace
}  // namespace brimful::plan
