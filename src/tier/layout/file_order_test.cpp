#include "tier/layout/file_order.h"

#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "tier/layout/repacked_layout.h"

namespace brimful::tier {
namespace {

std::vector<std::byte> random_bytes(std::size_t count) {
  std::mt19937 random(static_cast<unsigned>(count));
  std::vector<std::byte> out(count);
  std::ranges::generate(out, [&] { return static_cast<std::byte>(random()); });
  return out;
}

class FileOrder : public testing::TestWithParam<ggml_type> {
 protected:
  /// Returns `file` as ggml repacks it; nothing where this CPU has no layout for the type.
  [[nodiscard]] std::vector<std::byte> repacked(const std::vector<std::byte>& file, std::int64_t columns,
                                                std::int64_t rows) const {
    std::vector<std::byte> out(file.size());
    ggml_tensor weight = layout_.dressed_rows(GetParam(), columns, rows, out.data());
    if (weight.extra == nullptr) return {};
    ggml_backend_tensor_set(&weight, file.data(), 0, file.size());
    return out;
  }

  const RepackedLayout layout_{ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU), 1};
};

TEST_P(FileOrder, EveryByteComesBack) {
  const std::int64_t block = ggml_blck_size(GetParam());
  for (const std::int64_t rows : {8, 16, 24, 64, 200}) {
    for (const std::int64_t blocks : {1, 2, 3, 7, 16, 45}) {
      const std::int64_t columns = blocks * block;
      const std::uint64_t row_bytes = ggml_row_size(GetParam(), columns);
      const std::vector<std::byte> file = random_bytes(row_bytes * static_cast<std::uint64_t>(rows));
      const std::vector<std::byte> interleaved = repacked(file, columns, rows);
      if (interleaved.empty()) GTEST_SKIP() << "this CPU has no layout for it";
      ASSERT_TRUE(layout_.turns_back(GetParam()));
      EXPECT_NE(interleaved, file);
      std::vector<std::byte> back(file.size());
      turn_back({GetParam(), row_bytes, interleaved.data()}, 0, file.size(), back.data());
      ASSERT_EQ(back, file) << rows << " rows of " << columns;
    }
  }
}

// What is sent is cut anywhere: within a row, a block, or a byte of a scale's two.
TEST_P(FileOrder, AStretchMayBeginAndEndAnywhere) {
  const std::int64_t columns = ggml_blck_size(GetParam()) * 3;
  constexpr std::int64_t kSomeRows = 40;
  const std::uint64_t row_bytes = ggml_row_size(GetParam(), columns);
  const std::vector<std::byte> file = random_bytes(row_bytes * kSomeRows);
  const std::vector<std::byte> interleaved = repacked(file, columns, kSomeRows);
  if (interleaved.empty()) GTEST_SKIP() << "this CPU has no layout for it";
  std::mt19937 random(3);
  constexpr std::byte kUntouched{0xa5};
  for (int i = 0; i < 3000; ++i) {
    const std::uint64_t begin = random() % file.size();
    const std::uint64_t size =
        random() % std::min<std::uint64_t>(file.size() - begin, i % 2 ? 40 : file.size());
    std::vector<std::byte> expected(file.begin() + static_cast<std::ptrdiff_t>(begin),
                                    file.begin() + static_cast<std::ptrdiff_t>(begin + size));
    expected.push_back(kUntouched);
    std::vector<std::byte> out(size + 1, kUntouched);
    turn_back({GetParam(), row_bytes, interleaved.data()}, begin, size, out.data());
    ASSERT_EQ(out, expected) << size << " bytes from " << begin << " on";
  }
}

INSTANTIATE_TEST_SUITE_P(All, FileOrder,
                         testing::Values(GGML_TYPE_Q4_0, GGML_TYPE_Q4_K, GGML_TYPE_Q2_K, GGML_TYPE_IQ4_NL,
                                         GGML_TYPE_MXFP4),
                         [](const auto& test) { return std::string(ggml_type_name(test.param)); });

// A type that ggml repacks in a layout without an inverse must keep the file's order where it is sent.
TEST(RepackedLayouts, EveryLayoutOfThisCpuHasAnInverseOnX86) {
  if (ggml_cpu_has_avx2() == 0) GTEST_SKIP() << "other CPUs have other layouts";
  const RepackedLayout layout(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU), 1);
  for (int t = 0; t < GGML_TYPE_COUNT; ++t) {
    const auto type = static_cast<ggml_type>(t);
    if (ggml_blck_size(type) == 0 || !ggml_is_quantized(type)) continue;
    std::vector<std::byte> data(ggml_row_size(type, 512) * RepackedLayout::kRows);
    const ggml_tensor weight = layout.dressed_rows(type, 512, RepackedLayout::kRows, data.data());
    EXPECT_EQ(layout.turns_back(type), weight.extra != nullptr) << ggml_type_name(type);
  }
}

TEST(RepackedLayouts, WithoutALayoutNothingIsTurnedBack) {
  const RepackedLayout none(nullptr, 1);
  EXPECT_FALSE(none.turns_back(GGML_TYPE_Q4_K));
}

}  // namespace
}  // namespace brimful::tier
