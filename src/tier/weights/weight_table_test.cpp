#include "tier/weights/weight_table.h"

#include <gtest/gtest.h>

#include <vector>

namespace brimful::tier {
namespace {

constexpr std::uint64_t kRow = 144;  // a block of Q4_K
constexpr std::uint64_t kUnit = 64 * kRow;

/// A weight of two units, at 5000 in the file, of which only the first one is resident. Its extent holds
/// whole blocks: some bytes of whatever is before, and the first ones of the second unit.
class Residents : public testing::Test {
 protected:
  Residents() {
    model::TensorInfo tensor{.name = "weight", .offset = 5000};
    tensor.type = GGML_TYPE_Q4_K;
    tensor.shape = {256, 128, 1, 1};
    tensor.bytes = Bytes{2 * kUnit};
    profile_.tensors.push_back(tensor);
  }
  /// A table in which the weight is repacked, or not.
  WeightTable table(bool repacked) {
    plan::Placement placement;
    plan::Unit first{.rows = 64, .offset = 5000, .bytes = Bytes{kUnit}, .resident = true};
    first.place = 5000 - 4096;
    plan::Unit second{.first_row = 64, .rows = 64, .offset = 5000 + kUnit, .bytes = Bytes{kUnit}};
    placement.units = {first, second};
    placement.extents = {{.offset = 4096, .size = Bytes{12288}, .place = 0}};
    WeightTable out(profile_);
    plan::TensorUse use;
    use.tensor = 0;
    use.repacked = repacked;
    out.set(std::move(placement), {use}, arena_.data());
    return out;
  }

  model::ModelProfile profile_;
  std::vector<std::byte> arena_ = std::vector<std::byte>(12288);
};

TEST_F(Residents, AreFoundByTheirPlaceInTheFile) {
  const WeightTable plain = table(false);
  const auto bytes = plain.resident_bytes(0, 5000 + 10, kUnit - 10);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->tensor, 0U);
  EXPECT_EQ(bytes->offset, 10U);
  EXPECT_EQ(bytes->data, arena_.data() + (5000 - 4096) + 10);
  EXPECT_FALSE(plain.resident_bytes(1, 5000, 10)) << "another file";
  EXPECT_FALSE(plain.resident_bytes(0, 4990, 20)) << "it begins before the weight";
  EXPECT_FALSE(plain.resident_bytes(0, 5000, 3 * kUnit)) << "it ends behind it";
  EXPECT_FALSE(plain.resident_bytes(0, 5000, 2 * kUnit)) << "the second unit is on disk";
}

// An extent's last block has some bytes of the next unit, as they are in the file. With them alone, rows that
// are interleaved could not be turned back.
TEST_F(Residents, OfARepackedWeightAreWholeUnits) {
  ASSERT_GT(std::uint64_t{4096 + 12288}, 5000 + kUnit + 100);
  EXPECT_TRUE(table(false).resident_bytes(0, 5000 + kUnit - 50, 150));
  EXPECT_FALSE(table(true).resident_bytes(0, 5000 + kUnit - 50, 150));
  EXPECT_FALSE(table(true).resident_bytes(0, 5000 + kUnit, 100));
  EXPECT_TRUE(table(true).resident_bytes(0, 5000 + kUnit - 50, 50));
  EXPECT_TRUE(table(true).resident_bytes(0, 5000, kUnit));
}

}  // namespace
}  // namespace brimful::tier
