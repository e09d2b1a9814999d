#include "base/user_folders.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "temporary_directory.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

class UserFolders : public testing::Test {
 protected:
  void SetUp() override { ::setenv("XDG_STATE_HOME", base_.c_str(), 1); }
  void TearDown() override { ::unsetenv("XDG_STATE_HOME"); }

  static void write(const fs::path& file) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << "kept";
  }

  const tests::TemporaryDirectory directory_;
  const fs::path base_ = directory_.path();
  const fs::path old_ = base_ / kOldName;
};

TEST_F(UserFolders, OfTheOldNameAreTakenOverOnce) {
  write(old_ / "server-1" / "file");
  const fs::path now = state_folder();
  ASSERT_NE(now, old_);
  EXPECT_TRUE(fs::exists(now / "server-1" / "file"));
  EXPECT_FALSE(fs::exists(old_));

  write(old_ / "later");
  EXPECT_EQ(state_folder(), now);
  EXPECT_TRUE(fs::exists(old_ / "later")) << "the folder of the new name is there already";
  EXPECT_FALSE(fs::exists(now / "later"));
}

TEST_F(UserFolders, AreNotTakenOverThroughALink) {
  write(base_ / "elsewhere" / "file");
  fs::create_directory_symlink(base_ / "elsewhere", old_);
  EXPECT_FALSE(fs::exists(state_folder()));
  EXPECT_TRUE(fs::exists(base_ / "elsewhere" / "file"));
}

TEST_F(UserFolders, AreNotMadeByAsking) { EXPECT_FALSE(fs::exists(state_folder())); }

}  // namespace
}  // namespace strata
