#include "session/account.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "session/status_json.h"

namespace brimful::session {
namespace {

using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using json = nlohmann::ordered_json;

plan::MemoryMap host() {
  return {.budget = Bytes{255},
          .resident_weights = Bytes{1},
          .experts = Bytes{2},
          .ring = Bytes{4},
          .kv_cache = Bytes{8},
          .compute = Bytes{16},
          .draft_model = Bytes{32},
          .runtime = Bytes{64},
          .unused = Bytes{128}};
}
plan::DeviceShare device() {
  return {.name = "CUDA0",
          .budget = Bytes{127},
          .weights = Bytes{1},
          .experts = Bytes{2},
          .kv_cache = Bytes{4},
          .compute = Bytes{8},
          .ring = Bytes{16},
          .runtime = Bytes{32},
          .unused = Bytes{64}};
}

TEST(Account, EachTagHasItsOwnBytesAndNoneIsLeftOut) {
  const TierAccount tier = account_of(host());
  EXPECT_EQ(tier.tier, "host");
  EXPECT_EQ(tier.budget, Bytes{255});
  EXPECT_THAT(tier.tags, UnorderedElementsAre(Pair("weights", Bytes{1}), Pair("experts", Bytes{2}),
                                              Pair("ring", Bytes{4}), Pair("kv_cache", Bytes{8}),
                                              Pair("compute", Bytes{16}), Pair("draft_model", Bytes{32}),
                                              Pair("runtime", Bytes{64}), Pair("unused", Bytes{128})));
}

TEST(Account, ADeviceHasNoDraftModel) {
  const TierAccount tier = account_of(device());
  EXPECT_EQ(tier.tier, "CUDA0");
  EXPECT_EQ(tier.budget, Bytes{127});
  EXPECT_THAT(tier.tags, UnorderedElementsAre(Pair("weights", Bytes{1}), Pair("experts", Bytes{2}),
                                              Pair("kv_cache", Bytes{4}), Pair("compute", Bytes{8}),
                                              Pair("ring", Bytes{16}), Pair("runtime", Bytes{32}),
                                              Pair("unused", Bytes{64})));
}

TEST(StatusJson, TagsAreNumbersOfBytes) {
  EXPECT_EQ(tags_json({"host", Bytes{3}, {{"weights", Bytes{UINT64_MAX}}, {"unused", Bytes{0}}}}),
            (json{{"weights", UINT64_MAX}, {"unused", 0}}));
  EXPECT_EQ(tags_json({}), json::object()) << "never null";
}

TEST(StatusJson, ACardHasTheFiguresThatItsDriverTells) {
  engine::CardUse card{.total = Bytes{100}, .free = Bytes{30}, .used = Bytes{70}, .others = Bytes{20}};
  EXPECT_EQ(card_json(card), (json{{"total", 100}, {"free", 30}, {"used", 70}, {"others", 20}}));
  card.reserved = Bytes{10};
  card.process = Bytes{40};
  EXPECT_EQ(
      card_json(card),
      (json{{"total", 100}, {"free", 30}, {"used", 70}, {"reserved", 10}, {"process", 40}, {"others", 20}}));
}

TEST(StatusJson, StatisticsHaveTheFieldsOfTheControlSocket) {
  plan::MemoryMap map = host();
  map.total_weights = Bytes{900};
  map.resident_weight_bytes = Bytes{500};
  map.streamed_per_pass = Bytes{400};
  EXPECT_EQ(weights_json(map), (json{{"total", 900}, {"resident", 500}, {"streamed_per_pass", 400}}));
  EXPECT_EQ(slots_json({.used = 9, .hits = 7, .missed = Bytes{1}, .read = Bytes{4096}}),
            (json{{"used", 9}, {"hits", 7}, {"sent_bytes", 4096}}));
  EXPECT_EQ(passes_json({.passes = 3, .read = Bytes{8}, .stalled = std::chrono::milliseconds(1500)}),
            (json{{"count", 3}, {"disk_bytes", 8}, {"stalled_seconds", 1.5}}));
}

}  // namespace
}  // namespace brimful::session
