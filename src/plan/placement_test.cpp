#include "plan/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>

#include "plan/kernel_rows.h"

namespace brimful::plan {
namespace {

struct Case {
  model::ModelProfile profile;
  std::vector<TensorUse> uses;
};

/// Builds the profile of a model: its tensors follow one another in one or more files.
class Builder {
 public:
  explicit Builder(std::uint64_t alignment = 32) : alignment_(alignment) { next_file(); }

  Builder& next_file() {
    out_.profile.files.push_back({});
    at_ = alignment_ * 37;  // the header
    return *this;
  }
  Builder& tensor(std::int64_t columns, std::int64_t rows, ggml_type type, TensorUse use,
                  std::int64_t experts = 1) {
    model::TensorInfo info;
    info.name = "t" + std::to_string(out_.profile.tensors.size());
    info.type = type;
    info.shape = {columns, rows, experts, 1};
    info.file = static_cast<std::uint32_t>(out_.profile.files.size() - 1);
    info.offset = at_;
    info.bytes = info.row_bytes() * static_cast<std::uint64_t>(info.rows());
    at_ = align_up(at_ + info.bytes.value, alignment_);
    out_.profile.files.back().size = Bytes{at_};
    use.tensor = static_cast<std::uint32_t>(out_.profile.tensors.size());
    out_.profile.tensors.push_back(std::move(info));
    if (use.gather || use.by_rows || use.whole) out_.uses.push_back(use);
    return *this;
  }
  Builder& matrix(std::int64_t columns, std::int64_t rows, ggml_type type = GGML_TYPE_F16) {
    return tensor(columns, rows, type, {.by_rows = true});
  }
  Builder& norm(std::int64_t columns) { return tensor(columns, 1, GGML_TYPE_F32, {.whole = true}); }
  [[nodiscard]] Case done() { return std::move(out_); }

 private:
  Case out_;
  std::uint64_t alignment_;
  std::uint64_t at_ = 0;
};

Case layers(int count, std::int64_t size) {
  Builder builder;
  builder.tensor(size, size * 4, GGML_TYPE_F16, {.gather = true});  // token embedding
  for (int i = 0; i < count; ++i) {
    builder.norm(size)
        .matrix(size, size)
        .matrix(size, size / 4)
        .matrix(size, size * 3)
        .matrix(size * 2, size);
  }
  return builder.norm(size).matrix(size, size * 4).done();
}

/// Layers whose last matrix is used by drafts, too.
Case layers_with_drafts(int count, std::int64_t size) {
  Case out = layers(count, size);
  out.uses.back().for_drafts = true;
  return out;
}

Case random_case(std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  constexpr std::uint64_t kAlignments[] = {32, 64, 4096, 1};
  constexpr ggml_type kTypes[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0};
  Builder builder(kAlignments[pick(0, 2)]);
  const int tensors = pick(1, 60);
  for (int i = 0; i < tensors; ++i) {
    if (pick(0, 12) == 0) builder.next_file();
    const std::int64_t columns = pick(1, 32) * 32;
    const ggml_type type = kTypes[pick(0, 3)];
    switch (pick(0, 9)) {
      case 0: builder.tensor(columns, pick(1, 3000), type, {.gather = true}); break;
      case 1: builder.tensor(columns, pick(1, 3000), type, {.gather = true, .by_rows = true}); break;
      case 2: builder.tensor(columns, pick(1, 300), type, {.whole = true}, pick(1, 8)); break;
      case 3: builder.tensor(columns, pick(1, 300), type, {.by_rows = true, .whole = true}); break;
      case 4: builder.norm(columns); break;
      case 5: builder.tensor(columns, pick(1, 300), type, {}); break;  // never used
      default: builder.matrix(columns, pick(1, 2000), type);
    }
  }
  Case out = builder.done();
  std::shuffle(out.uses.begin(), out.uses.end(), random);
  return out;
}

Bytes all_used(const Case& c) {
  Bytes total;
  for (const TensorUse& use : c.uses) total += c.profile.tensors[use.tensor].bytes + Bytes{2 * kBlock};
  return total;
}

/// Checks that each used tensor is covered exactly once, by neighbouring units in row order that have the
/// bytes of the file.
void expect_covered(const Case& c, const Placement& placement) {
  std::map<std::uint32_t, std::size_t> first;
  for (std::size_t i = 0; i < placement.units.size(); ++i) {
    first.try_emplace(placement.units[i].tensor, i);
  }
  std::size_t covered = 0;
  for (const TensorUse& use : c.uses) {
    const model::TensorInfo& tensor = c.profile.tensors[use.tensor];
    const auto found = first.find(use.tensor);
    if (found == first.end()) {
      EXPECT_TRUE(use.gather && !use.by_rows && !use.whole) << tensor.name << " has no place";
      continue;
    }
    std::int64_t rows = 0;
    std::size_t i = found->second;
    for (; i < placement.units.size() && placement.units[i].tensor == use.tensor; ++i, ++covered) {
      const Unit& unit = placement.units[i];
      EXPECT_GT(unit.rows, 0);
      EXPECT_EQ(unit.first_row, rows);
      if (tensor.rows() % kKernelRows != 0) {
        EXPECT_NE(unit.rows % kKernelRows, 0) << tensor.name << " is computed by another kernel in parts";
      }
      EXPECT_EQ(unit.file, tensor.file);
      EXPECT_EQ(unit.offset, tensor.offset + static_cast<std::uint64_t>(rows) * tensor.row_bytes().value);
      EXPECT_EQ(unit.bytes, tensor.row_bytes() * static_cast<std::uint64_t>(unit.rows));
      rows += unit.rows;
    }
    EXPECT_EQ(rows, tensor.rows()) << tensor.name;
    const bool splittable = use.by_rows && !use.whole && tensor.shape[2] == 1;
    if (!splittable) {
      EXPECT_EQ(i - found->second, 1U) << tensor.name << " was split";
    }
  }
  EXPECT_EQ(covered, placement.units.size()) << "units of one tensor are not neighbours";
}

void expect_laid_out(const Placement& placement) {
  std::uint64_t at = placement.ring.value;
  EXPECT_EQ(at % kBlock, 0U);
  std::vector<Extent> extents = placement.extents;
  std::sort(extents.begin(), extents.end(), [](const auto& a, const auto& b) { return a.place < b.place; });
  for (const Extent& extent : extents) {
    EXPECT_EQ(extent.place, at);  // extents follow the ring, without overlaps and gaps
    EXPECT_EQ(extent.offset % kBlock, 0U);
    EXPECT_EQ(extent.size.value % kBlock, 0U);
    EXPECT_GT(extent.size.value, 0U);
    at += extent.size.value;
  }
  EXPECT_EQ(placement.arena_bytes(), Bytes{at});
  Bytes resident;
  Bytes streamed;
  Bytes largest;
  for (const Unit& unit : placement.units) {
    EXPECT_EQ(unit.span_begin() % kBlock, 0U);
    EXPECT_EQ(unit.span().value % kBlock, 0U);
    if (!unit.resident) {
      streamed += unit.bytes;
      largest = std::max(largest, unit.span());
      continue;
    }
    resident += unit.bytes;
    EXPECT_EQ(unit.place % kBlock, unit.offset % kBlock);
    const bool held = std::any_of(extents.begin(), extents.end(), [&](const Extent& extent) {
      return extent.file == unit.file && unit.offset >= extent.offset &&
             unit.offset + unit.bytes.value <= extent.offset + extent.size.value &&
             unit.place - extent.place == unit.offset - extent.offset;
    });
    EXPECT_TRUE(held) << "no extent holds the unit at " << unit.offset;
  }
  EXPECT_EQ(placement.resident, resident);
  EXPECT_EQ(placement.streamed_per_pass, streamed);
  EXPECT_EQ(placement.largest_streamed, largest);
  EXPECT_GE(placement.ring, largest * 2);
  EXPECT_EQ(placement.ring.value == 0, streamed.value == 0);
}

TEST(Place, HoldsItsInvariantsOnRandomModelsAndBudgets) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    const Case c = random_case(seed);
    const Bytes least = smallest_budget(c.profile, c.uses);
    const Bytes most = std::max(least, all_used(c));
    for (const unsigned percent : {0U, 1U, 7U, 25U, 50U, 75U, 90U, 99U, 100U}) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", " << percent << "%");
      const Bytes budget{least.value + (most - least).value / 100 * percent +
                         (percent == 100 ? 8 * kBlock : 0)};
      const auto placement = place(c.profile, c.uses, budget);
      ASSERT_TRUE(placement) << placement.error().message;
      EXPECT_LE(placement->arena_bytes(), budget);
      expect_covered(c, *placement);
      expect_laid_out(*placement);
      EXPECT_TRUE(percent < 100 || placement->streamed_per_pass.value == 0);
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(Place, TheSmallestBudgetFitsAndOneBlockLessDoesNot) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Case c = random_case(seed);
    const Bytes least = smallest_budget(c.profile, c.uses);
    EXPECT_TRUE(place(c.profile, c.uses, least));
    if (least.value == 0) continue;  // only gathered rows
    const auto less = place(c.profile, c.uses, least - Bytes{kBlock});
    ASSERT_FALSE(less);
    EXPECT_EQ(less.error().code, ErrorCode::kInfeasible);
    EXPECT_NE(less.error().message.find("4.0 KiB are missing"), std::string::npos) << less.error().message;
  }
}

/// A model with `layers` layers of one dense matrix and two matrices of `experts` experts.
Case with_experts(int layers, std::int64_t experts, bool contiguous = false) {
  Builder builder;
  for (int i = 0; i < layers; ++i) {
    builder.norm(256).matrix(256, 256);
    const auto group = static_cast<std::uint32_t>(4 * i + 2);
    const TensorUse use{.whole = true, .contiguous = contiguous, .expert_group = group};
    builder.tensor(256, 128, GGML_TYPE_F16, use, experts).tensor(128, 256, GGML_TYPE_F16, use, experts);
  }
  return builder.done();
}

TEST(PlaceExperts, AreOrdinaryWeightsWhereAllFits) {
  const Case c = with_experts(4, 16);
  const auto placement = place(c.profile, c.uses, all_used(c) + kMiB);
  ASSERT_TRUE(placement);
  EXPECT_TRUE(placement->groups.empty());
  EXPECT_EQ(placement->arena_bytes(), placement->extents.front().size);
}

TEST(PlaceExperts, GetSlotsFromWhatTheOtherWeightsLeave) {
  const Case c = with_experts(4, 16);
  const auto placement = place(c.profile, c.uses, Bytes{all_used(c).value / 2});
  ASSERT_TRUE(placement) << placement.error().message;
  EXPECT_EQ(placement->streamed_per_pass.value, 0U) << "weights that every token uses stay first";
  ASSERT_EQ(placement->groups.size(), 4U);
  std::uint32_t least = UINT32_MAX;
  std::uint32_t most = 0;
  for (const ExpertGroup& group : placement->groups) {
    EXPECT_EQ(group.experts, 16U);
    ASSERT_EQ(group.parts.size(), 2U);
    least = std::min(least, group.slots);
    most = std::max(most, group.slots);
  }
  EXPECT_GE(least, 4U);
  EXPECT_LE(most, least + 1);
}

TEST(PlaceExperts, PlacesDoNotOverlapAndKeepToTheBudget) {
  constexpr Bookkeeping kCosts{Bytes{1200}, Bytes{100}};
  for (const bool contiguous : {false, true}) {
    const Case c = with_experts(5, 12, contiguous);
    const Bytes least = smallest_budget(c.profile, c.uses, kCosts);
    EXPECT_FALSE(place(c.profile, c.uses, least - Bytes{1}, kCosts));
    for (Bytes budget = least; budget < all_used(c); budget += Bytes{100'000}) {
      const auto placement = place(c.profile, c.uses, budget, kCosts);
      ASSERT_TRUE(placement) << placement.error().message;
      EXPECT_LE(placement->arena_bytes() + placement->bookkeeping(kCosts), budget);
      std::map<std::uint64_t, std::uint64_t> places{{0, placement->ring.value}};
      for (const Extent& extent : placement->extents) places[extent.place] = extent.size.value;
      for (const ExpertGroup& group : placement->groups) {
        for (const ExpertPart& part : group.parts) {
          if (group.slots > 0) places[part.place] = part.stride.value * group.slots;
          EXPECT_EQ(part.place % kBlock, 0U);
          EXPECT_GE(part.stride, contiguous ? part.bytes : region_of(part.bytes));
        }
      }
      places[placement->stage_place] = placement->stage.value;
      if (contiguous) places[placement->bounce_place] = placement->bounce_buffers.value;
      std::uint64_t end = 0;
      for (const auto& [begin, size] : places) {
        EXPECT_GE(begin, end);
        end = std::max(end, begin + size);
      }
      EXPECT_LE(end, placement->arena_bytes().value);
    }
  }
}

TEST(Place, PaysForTheBookkeepingOfEachUnit) {
  constexpr Bytes kPerUnit{1200};
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Case c = random_case(seed);
    const Bytes least = smallest_budget(c.profile, c.uses, {kPerUnit, {}});
    for (const unsigned percent : {0U, 5U, 30U, 100U}) {
      const Bytes budget{least.value + all_used(c).value / 100 * percent};
      const auto placement = place(c.profile, c.uses, budget, {kPerUnit, {}});
      ASSERT_TRUE(placement) << placement.error().message;
      EXPECT_LE(placement->arena_bytes() + kPerUnit * placement->units.size(), budget) << percent << "%";
    }
    if (least.value > 0) {
      EXPECT_FALSE(place(c.profile, c.uses, least - Bytes{1}, {kPerUnit, {}}));
    }
  }
}

TEST(Place, KeepsEverythingWhenThereIsRoom) {
  const Case c = layers(4, 256);
  const auto all = place(c.profile, c.uses, kGiB);
  ASSERT_TRUE(all);
  EXPECT_EQ(all->ring, Bytes{});
  EXPECT_EQ(all->streamed_per_pass, Bytes{});
  EXPECT_EQ(all->resident, c.profile.weight_bytes());

  // One block less than that: the embedding rows are gathered from disk, before anything streams.
  const auto gathered = place(c.profile, c.uses, all->arena_bytes() - Bytes{kBlock});
  ASSERT_TRUE(gathered);
  EXPECT_EQ(gathered->streamed_per_pass, Bytes{});
  EXPECT_EQ(gathered->resident, c.profile.weight_bytes() - c.profile.tensors[0].bytes);
  EXPECT_EQ(gathered->units.front().tensor, 1U);
}

TEST(Place, NeverStreamsNormsAndBiases) {
  const Case c = layers(8, 512);
  const auto placement = place(c.profile, c.uses, smallest_budget(c.profile, c.uses));
  ASSERT_TRUE(placement);
  EXPECT_GT(placement->streamed_per_pass, Bytes{});
  for (const Unit& unit : placement->units) {
    EXPECT_TRUE(unit.resident || c.profile.tensors[unit.tensor].rows() > 1);
  }
}

TEST(Place, SplitsRowsAtMultiplesOf64) {
  const Case c = layers(2, 1024);
  const auto placement = place(c.profile, c.uses, smallest_budget(c.profile, c.uses));
  ASSERT_TRUE(placement);
  bool split = false;
  for (const Unit& unit : placement->units) {
    EXPECT_EQ(unit.first_row % 64, 0);
    split |= unit.first_row > 0;
  }
  EXPECT_TRUE(split);
}

TEST(Place, UsesTheBudget) {
  const Case c = layers(16, 512);
  const Bytes weights = c.profile.weight_bytes();
  for (const unsigned percent : {30U, 50U, 75U, 90U}) {
    const Bytes budget{weights.value / 100 * percent};
    const auto placement = place(c.profile, c.uses, budget);
    ASSERT_TRUE(placement);
    Bytes smallest_left = kGiB;
    for (const Unit& unit : placement->units) {
      if (!unit.resident) smallest_left = std::min(smallest_left, unit.span());
    }
    EXPECT_LT(budget - placement->arena_bytes(), smallest_left)
        << percent << "%: another unit would have fitted";
  }
}

TEST(Place, ALargerBudgetStreamsNoMore) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const Case c = random_case(seed);
    const Bytes least = smallest_budget(c.profile, c.uses);
    const Bytes most = std::max(least, all_used(c));
    std::optional<Placement> before;
    for (int step = 0; step <= 40; ++step) {
      const auto now = place(c.profile, c.uses, Bytes{least.value + (most - least).value / 40 * step});
      ASSERT_TRUE(now);
      if (before) {
        // A larger ring for larger reads is the one thing that may take bytes from residency.
        const Bytes slack = now->largest_streamed + saturating_sub(now->ring, before->ring) +
                            std::max(now->largest_streamed, before->largest_streamed);
        EXPECT_LE(now->streamed_per_pass, before->streamed_per_pass + slack)
            << "seed " << seed << ", step " << step;
      }
      before = *now;
    }
  }
}

TEST(Place, SpreadsTheStreamedUnitsEvenlyOverThePass) {
  const Case c = layers(32, 512);
  for (const unsigned percent : {30U, 50U, 75U, 90U}) {
    const auto placement = place(c.profile, c.uses, Bytes{c.profile.weight_bytes().value / 100 * percent});
    ASSERT_TRUE(placement);
    Bytes all;
    for (const Unit& unit : placement->units) all += unit.bytes;
    const double share =
        static_cast<double>(placement->streamed_per_pass.value) / static_cast<double>(all.value);
    ASSERT_GT(share, 0.02);
    // At any point of the pass, the share of the passed bytes that streamed is the average share, give or
    // take a few units. So neither the disk nor the compute waits for the other for long.
    double passed = 0;
    double streamed = 0;
    double low = 0;
    double high = 0;
    for (const Unit& unit : placement->units) {
      passed += static_cast<double>(unit.bytes.value);
      if (!unit.resident) streamed += static_cast<double>(unit.bytes.value);
      low = std::min(low, streamed - share * passed);
      high = std::max(high, streamed - share * passed);
    }
    EXPECT_LT((high - low) / static_cast<double>(all.value), 0.06) << percent << "%";
  }
}

TEST(Place, PlansTenThousandTensorsQuickly) {
  Builder builder;
  for (int i = 0; i < 2500; ++i) builder.norm(64).matrix(64, 128).matrix(64, 64).matrix(128, 64);
  const Case c = builder.done();
  const auto begin = std::chrono::steady_clock::now();
  const auto placement = place(c.profile, c.uses, Bytes{c.profile.weight_bytes().value / 2});
  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(placement);
  EXPECT_GT(placement->streamed_per_pass, Bytes{});
  EXPECT_LT(took, std::chrono::seconds(3));
  RecordProperty("milliseconds", static_cast<int>(took / std::chrono::milliseconds(1)));
}

TEST(Place, OfNothingIsNothing) {
  const model::ModelProfile profile;
  EXPECT_EQ(smallest_budget(profile, {}), Bytes{});
  const auto placement = place(profile, {}, Bytes{});
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->arena_bytes(), Bytes{});
}

TEST(Placement, KeepsWhatDraftsUseWhereThereIsRoom) {
  const Case plain = layers(8, 256);
  const Case drafts = layers_with_drafts(8, 256);
  const std::uint32_t last = drafts.uses.back().tensor;
  const auto stays = [&](const Case& of, Bytes budget) {
    const auto placed = place(of.profile, of.uses, budget);
    EXPECT_TRUE(placed);
    EXPECT_LE(placed->arena_bytes(), budget);
    return std::ranges::all_of(placed->units,
                               [&](const Unit& unit) { return unit.tensor != last || unit.resident; });
  };
  const Bytes least = smallest_budget(plain.profile, plain.uses);
  EXPECT_EQ(smallest_budget(drafts.profile, drafts.uses), least) << "drafts make no model larger";
  const Bytes room = least + drafts.profile.tensors[last].bytes + kMiB;
  EXPECT_TRUE(stays(drafts, room));
  EXPECT_FALSE(stays(plain, room));
  EXPECT_FALSE(stays(drafts, least));
}

}  // namespace
}  // namespace brimful::plan
