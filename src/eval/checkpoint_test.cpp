#include "eval/checkpoint.h"

#include <gtest/gtest.h>

#include <array>
#include <fstream>

#include "temporary_directory.h"

namespace brimful::eval {
namespace {

class CheckpointFile : public testing::Test {
 protected:
  static bool read(std::istream& in, std::array<int, 2>& into) { return take(in, into); }
  const tests::TemporaryDirectory directory_;
  const std::filesystem::path file_ = directory_.path() / "state";
};

TEST_F(CheckpointFile, HoldsWhatWasSavedLast) {
  std::array<int, 2> got{};
  const auto load = [&](std::istream& in) { return read(in, got); };
  auto checkpoint = Checkpoint::open(file_, "one");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_FALSE(checkpoint->load(load));
  for (const int value : {1, 2})
    ASSERT_TRUE(checkpoint->save([&](std::ostream& out) { put(out, std::array{value, 7}); }));
  ASSERT_TRUE(checkpoint->load(load));
  EXPECT_EQ(got, (std::array{2, 7}));
  checkpoint->remove();
  EXPECT_TRUE(std::filesystem::is_empty(file_.parent_path()));
}

TEST_F(CheckpointFile, IsNotTakenByAnotherComputationOrWhenItIsDamaged) {
  std::array<int, 2> got{};
  const auto load = [&](std::istream& in) { return read(in, got); };
  {
    const auto one = Checkpoint::open(file_, "one");
    ASSERT_TRUE(one);
    ASSERT_TRUE(one->save([](std::ostream& out) { put(out, std::array{1, 2}); }));
    EXPECT_FALSE(one->is_of_another());
    EXPECT_FALSE(Checkpoint::open(file_, "one")) << "two processes have the same state";
  }
  const auto two = Checkpoint::open(file_, "two");
  ASSERT_TRUE(two);
  EXPECT_FALSE(two->load(load));
  EXPECT_TRUE(two->is_of_another());
  std::filesystem::resize_file(file_, std::filesystem::file_size(file_) - 1);
  // It is the same file for the first one, but cut off.
  const auto size = std::filesystem::file_size(file_);
  std::filesystem::rename(file_, directory_.path() / "cut");
  const auto one = Checkpoint::open(directory_.path() / "cut", "one");
  ASSERT_TRUE(one);
  EXPECT_FALSE(one->load(load));
  EXPECT_EQ(std::filesystem::file_size(directory_.path() / "cut"), size);
}

}  // namespace
}  // namespace brimful::eval
