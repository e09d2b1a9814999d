#include "probe/refresh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "synth/type.h"

namespace brimful::probe {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

hardware::Compute rates_of(const std::vector<ggml_type>& types) {
  hardware::Compute out;
  for (const ggml_type type : types) out.kernels.push_back({.type = ggml_type_name(type)});
  return out;
}
model::ModelProfile model_of(ggml_type matrices, ggml_type vectors) {
  model::ModelProfile out;
  out.tensors.push_back({.name = "matrix", .type = matrices, .shape = {256, 16, 1, 1}});
  out.tensors.push_back({.name = "norm", .type = vectors, .shape = {256, 1, 1, 1}});
  return out;
}

TEST(TypesToMeasure, AModelsAreThoseOfItsMatrices) {
  const model::ModelProfile model = model_of(GGML_TYPE_Q4_K, GGML_TYPE_F32);
  EXPECT_THAT(types_to_measure({.model = &model}), ElementsAre(GGML_TYPE_Q4_K));
  EXPECT_THAT(types_to_measure({.model = &model, .refresh = Refresh::kUsualTypes}),
              ElementsAre(GGML_TYPE_Q4_K));
  const model::ModelProfile empty;
  EXPECT_THAT(types_to_measure({.model = &empty}), IsEmpty());
}

TEST(TypesToMeasure, WithoutAModelTheyAreAllOrTheUsualOnes) {
  EXPECT_EQ(types_to_measure({}), synth::synth_types());
  const auto usual = types_to_measure({.refresh = Refresh::kUsualTypes});
  EXPECT_LT(usual.size(), synth::synth_types().size());
  EXPECT_THAT(usual, testing::Contains(GGML_TYPE_Q4_K));
}

TEST(RefreshOf, WhatTheCallerWantsAnewIsMeasuredAnew) {
  const hardware::Compute all = rates_of(synth::synth_types());
  for (const Refresh wanted : {Refresh::kAll, Refresh::kUsualTypes, Refresh::kModelsTypes})
    EXPECT_EQ(refresh_of({.refresh = wanted}, &all), wanted);
}

TEST(RefreshOf, OnlyAMachineThatIsKnownIsNotMeasured) {
  const hardware::Compute all = rates_of(synth::synth_types());
  EXPECT_EQ(refresh_of({}, nullptr), Refresh::kAll);
  EXPECT_EQ(refresh_of({}, &all), Refresh::kNever);
  EXPECT_EQ(refresh_of({.refresh = Refresh::kMissing}, nullptr), Refresh::kAll);
  EXPECT_EQ(refresh_of({.refresh = Refresh::kMissing}, &all), Refresh::kNever);
  const hardware::Compute some = rates_of({GGML_TYPE_Q4_K});
  EXPECT_EQ(refresh_of({.refresh = Refresh::kMissing}, &some), Refresh::kAll) << "a type is missing";
}

TEST(RefreshOf, AModelWithATypeThatIsNotKnownHasItsTypesMeasured) {
  const hardware::Compute some = rates_of({GGML_TYPE_Q4_K});
  const model::ModelProfile known = model_of(GGML_TYPE_Q4_K, GGML_TYPE_F32);
  const model::ModelProfile other = model_of(GGML_TYPE_Q8_0, GGML_TYPE_F32);
  EXPECT_EQ(refresh_of({.model = &known}, &some), Refresh::kNever);
  EXPECT_EQ(refresh_of({.model = &other}, &some), Refresh::kModelsTypes);
  EXPECT_EQ(refresh_of({.model = &other}, nullptr), Refresh::kModelsTypes) << "nobody waits for other types";
  EXPECT_EQ(refresh_of({}, &some), Refresh::kNever) << "without a model no type is needed";
}

TEST(Average, ItIsTheRateOfBothMeasurementsTogether) {
  double rate = 100;
  average(rate, 300);
  EXPECT_DOUBLE_EQ(rate, 150) << "the slower one takes most of the time";
  average(rate, 150);
  EXPECT_DOUBLE_EQ(rate, 150);
}

TEST(Average, EveryRateOfAKernelIsAveraged) {
  hardware::KernelRate rate{"q4_K", 100, 100, 100, 100, 100, 100, 100, 100, 100, 100};
  const hardware::KernelRate other{"q4_K", 300, 300, 300, 300, 300, 300, 300, 300, 300, 300};
  average(rate, other);
  for (const double one :
       {rate.decode_bytes_per_s, rate.batch_multiplications_per_s, rate.prompt_multiplications_per_s,
        rate.expert_decode_bytes_per_s, rate.expert_multiplications_per_s, *rate.repack_bytes_per_s,
        rate.short_rows_decode, rate.short_rows_batch, *rate.file_order_decode_bytes_per_s,
        *rate.turn_back_bytes_per_s})
    EXPECT_DOUBLE_EQ(one, 150);
  hardware::Attention attention{100, 100, 100};
  average(attention, {300, 300, 300});
  EXPECT_DOUBLE_EQ(attention.decode_multiplications_per_s, 150);
  EXPECT_DOUBLE_EQ(attention.prompt_multiplications_per_s, 150);
  EXPECT_DOUBLE_EQ(attention.share_of_short_heads, 150);
}

TEST(Average, ALayoutThatIsThatOfTheFileHasNoRepackRate) {
  hardware::KernelRate rate{.type = "f16"};
  average(rate, {.type = "f16"});
  EXPECT_EQ(rate.repack_bytes_per_s, std::nullopt);
}

TEST(TakeOverLinks, ACardKeepsItsFactsAndGetsItsRate) {
  std::vector<hardware::Gpu> now = {{.name = "A", .total = Bytes{8}}, {.name = "A"}, {.name = "B"}};
  take_over_links({{.name = "A",
                    .host_to_device_bytes_per_s = 1,
                    .copies_beside_reads_bytes_per_s = 5,
                    .reads_beside_copies_bytes_per_s = 6},
                   {.name = "A", .host_to_device_bytes_per_s = 2},
                   {.name = "C", .host_to_device_bytes_per_s = 3},
                   {.name = "D", .host_to_device_bytes_per_s = 4}},
                  now);
  ASSERT_EQ(now.size(), 4U);
  EXPECT_EQ(now[0].total, Bytes{8});
  EXPECT_EQ(now[0].host_to_device_bytes_per_s, 1);
  EXPECT_EQ(now[0].copies_beside_reads_bytes_per_s, 5);
  EXPECT_EQ(now[0].reads_beside_copies_bytes_per_s, 6);
  EXPECT_EQ(now[1].host_to_device_bytes_per_s, 2) << "cards of the same name are told apart by their place";
  EXPECT_EQ(now[2].host_to_device_bytes_per_s, std::nullopt) << "another card was there";
  EXPECT_EQ(now[3].name, "D");
}

}  // namespace
}  // namespace brimful::probe
