#include "tier/layout/q4_k_rows.h"

#include <ggml-cpu.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tier/layout/repacked_layout.h"

namespace brimful::tier {
namespace {

TEST(Q4KRows, AreInterleavedAsGgmlDoesIt) {
  if (ggml_cpu_has_avx2() == 0) GTEST_SKIP() << "without AVX2, ggml has another order for Q4_K";
  ggml_backend_dev_t const cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  const RepackedLayout layout(cpu, 1);
  std::mt19937 random(7);
  for (const auto& [columns, rows] :
       {std::pair<std::int64_t, std::int64_t>{256, 8}, {1024, 16}, {2816, 48}}) {
    const std::uint64_t row_bytes = ggml_row_size(GGML_TYPE_Q4_K, columns);
    std::vector<std::byte> in(row_bytes * static_cast<std::uint64_t>(rows)), theirs(in.size()),
        ours(in.size());
    std::ranges::generate(in, [&] { return static_cast<std::byte>(random()); });

    ggml_tensor weight = layout.dressed_rows(GGML_TYPE_Q4_K, columns, rows, theirs.data());
    ASSERT_NE(weight.extra, nullptr);
    ggml_backend_tensor_set(&weight, in.data(), 0, in.size());

    interleave_q4_k(in.data(), rows, row_bytes, ours.data());
    EXPECT_EQ(ours, theirs) << columns << " x " << rows;
  }
}

}  // namespace
}  // namespace brimful::tier
