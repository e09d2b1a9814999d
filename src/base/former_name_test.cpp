#include "base/former_name.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "base/user_folders.h"
#include "temporary_directory.h"

namespace brimful {
namespace {

namespace fs = std::filesystem;

class FormerName : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::setenv("XDG_CACHE_HOME", root_.c_str(), 1), 0); }
  void TearDown() override { ASSERT_EQ(::unsetenv("XDG_CACHE_HOME"), 0); }

  static void write(const fs::path& file, const std::string& text) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  static std::string read(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  const tests::TemporaryDirectory directory_;
  const fs::path root_ = directory_.path();
  const fs::path former_ = root_ / kFormerName;
  const fs::path now_ = root_ / "brimful";
};

TEST_F(FormerName, AFolderOfItIsRenamedWithWhatIsInIt) {
  write(former_ / "profile.json", "measured");
  EXPECT_EQ(cache_folder(), now_);
  EXPECT_EQ(read(now_ / "profile.json"), "measured");
  EXPECT_FALSE(fs::exists(former_));
}

TEST_F(FormerName, AFolderOfTodayIsNeverReplaced) {
  write(former_ / "profile.json", "former");
  write(now_ / "profile.json", "of today");
  EXPECT_EQ(cache_folder(), now_);
  EXPECT_EQ(read(now_ / "profile.json"), "of today");
  EXPECT_EQ(read(former_ / "profile.json"), "former");
}

TEST_F(FormerName, NothingIsMadeWhereThereIsNone) {
  EXPECT_EQ(cache_folder(), now_);
  EXPECT_TRUE(fs::is_empty(root_));
}

TEST_F(FormerName, ALinkIsNotFollowed) {
  write(root_ / "elsewhere" / "file", "of somebody else");
  fs::create_directory_symlink(root_ / "elsewhere", former_);
  EXPECT_EQ(cache_folder(), now_);
  EXPECT_TRUE(fs::is_symlink(former_));
  EXPECT_FALSE(fs::exists(now_));
}

TEST_F(FormerName, AFolderThatCannotBeRenamedGoesOnBeingUsed) {
  const fs::path mounted = "/proc/sys";  // Nothing can be renamed there, not even by root.
  ASSERT_TRUE(fs::exists(mounted / "kernel"));
  EXPECT_FALSE(take_over(mounted / "kernel", mounted / "not there"));
}

}  // namespace
}  // namespace brimful
