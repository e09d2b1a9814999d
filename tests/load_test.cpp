// Loading reads each resident byte once, and nothing else.

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "hardware/host_memory.h"
#include "sanitized.h"
#include "synth/synth.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

/// Returns the bytes that this process read from the disk, direct reads included.
Bytes disk_bytes_read() {
  std::ifstream io("/proc/self/io");
  std::string text((std::istreambuf_iterator<char>(io)), {});
  return hardware::parse_field(text, "read_bytes").value_or(Bytes{});
}

class Load : public testing::Test {
 protected:
  void SetUp() override {
    const auto design = synth::design_synth({.like = "llama-tiny", .type = "F16"});
    ASSERT_TRUE(design);
    const auto written = synth::write_synth(*design, directory_.path() / "synth.gguf", true, [](Bytes) {});
    ASSERT_TRUE(written);
    path_ = written->front();
  }

  const TemporaryDirectory directory_;
  std::filesystem::path path_;
};

TEST_F(Load, ReadsEachResidentByteOnceAndNothingElse) {
  // The program's own pages are read from disk, too, where they are not in the page cache.
  { ASSERT_TRUE(TieredModel::load(path_, {}, percent_of_weights(0))); }
  for (const unsigned percent : {100U, 50U, 0U}) {
    const Bytes before = disk_bytes_read();
    auto model = TieredModel::load(path_, {}, percent_of_weights(percent));
    ASSERT_TRUE(model) << model.error().message;
    const Bytes read = disk_bytes_read() - before;

    Bytes extents;
    for (const plan::Extent& extent : (*model)->placement().extents) extents += extent.size;
    EXPECT_EQ((*model)->device().loaded(), extents);
    EXPECT_GE(read, (*model)->placement().resident) << percent;
    constexpr Bytes kHeader{2 * 1024 * 1024};  // This includes the kernel's read-ahead.
    EXPECT_LE(read, extents + kHeader) << percent;
  }
}

TEST_F(Load, FillsNoMemoryForWeightsThatStream) {
  if (kSanitized) GTEST_SKIP() << "the address sanitizer keeps freed memory: what is resident says nothing";
  const auto resident = [] { return hardware::read_process_memory()->resident; };
  // This makes the allocations that happen only once.
  { ASSERT_TRUE(TieredModel::load(path_, {}, percent_of_weights(0))); }
  const Bytes before = resident();
  auto model = TieredModel::load(path_, {.context = 256, .ubatch = 32}, percent_of_weights(0));
  ASSERT_TRUE(model) << model.error().message;
  const Bytes weights = (*model)->placement().streamed_per_pass;
  EXPECT_LT(saturating_sub(resident(), before), Bytes{weights.value / 2});
}

}  // namespace
}  // namespace brimful::tests
