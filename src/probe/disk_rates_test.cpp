#include "probe/disk_rates.h"

#include <gtest/gtest.h>

#include <fstream>

#include "probe/probe.h"
#include "scripted_model.h"
#include "temporary_directory.h"

namespace brimful::probe {
namespace {

class DiskBenchTest : public ::testing::Test {
 protected:
  tests::TemporaryDirectory directory_;
  const std::filesystem::path file_ = tests::write_scripted_model(directory_.path(), {.tokens = {"once"}});
  const model::ModelProfile model_ = model::read_model(file_).value();
};

/// A function for read_while() that goes on `times` times.
std::function<bool()> for_times(int times) {
  return [times]() mutable { return times-- > 0; };
}

TEST_F(DiskBenchTest, AFileSmallerThanTheReadsIsReadAgainAndAgain) {
  const auto bench = DiskBench::create(model_);
  ASSERT_TRUE(bench) << bench.error().message;
  for (const std::optional<std::size_t> in_flight :
       {std::optional<std::size_t>(1), std::optional<std::size_t>()}) {
    const auto rate = (*bench)->read_while(kMiB, for_times(5), in_flight);
    ASSERT_TRUE(rate) << rate.error().message;
    EXPECT_GT(*rate, 0);
  }
  EXPECT_GT((*bench)->read_while(Bytes{4096}, for_times(100)).value(), 0);
}

TEST_F(DiskBenchTest, NothingIsReadWhenItMayNotBegin) {
  const auto bench = DiskBench::create(model_);
  ASSERT_TRUE(bench) << bench.error().message;
  EXPECT_EQ((*bench)->read_while(kMiB, for_times(0)).value(), 0);
}

TEST_F(DiskBenchTest, AMissingFileIsNamed) {
  model::ModelProfile missing = model_;
  missing.files.front().path = directory_.path() / "missing.gguf";
  const auto bench = DiskBench::create(missing);
  ASSERT_FALSE(bench);
  EXPECT_NE(bench.error().message.find("missing.gguf"), std::string::npos) << bench.error().message;
}

TEST(ForTime, TheTimeBeginsWithTheFirstQuestion) {
  const auto no_time = for_time(std::chrono::milliseconds(0));
  EXPECT_FALSE(no_time());
  const auto hour = for_time(std::chrono::hours(1));
  EXPECT_TRUE(hour());
  EXPECT_TRUE(hour());
}

TEST_F(DiskBenchTest, AMachineThatWasNeverMeasuredIsNotKnown) {
  const ProbeOptions options{.model = &model_, .cache = directory_.path() / "cache"};
  EXPECT_FALSE(known(options));
  EXPECT_FALSE(std::filesystem::exists(options.cache)) << "nothing was measured";
}

}  // namespace
}  // namespace brimful::probe
