#include "base/private_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "temporary_directory.h"

namespace brimful {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class PrivateFiles : public testing::Test {
 protected:
  [[nodiscard]] static mode_t mode(const fs::path& path) {
    struct stat facts {};
    EXPECT_EQ(::lstat(path.c_str(), &facts), 0) << path;
    return facts.st_mode & 07777;
  }
  [[nodiscard]] static std::string refusal(const Status& status) {
    EXPECT_FALSE(status);
    return status ? "" : status.error().message;
  }

  const tests::TemporaryDirectory directory_;
  const fs::path root_ = directory_.path();
};

TEST_F(PrivateFiles, NobodyElseEntersWhateverTheUmaskIs) {
  for (const mode_t mask : {0, 022, 0277}) {
    const fs::path folder = root_ / std::to_string(mask) / "in" / "side";
    const mode_t before = ::umask(mask);
    const Status made = make_private_folder(folder);
    const Status file = make_private_file(folder / "file");
    ::umask(before);
    ASSERT_TRUE(made) << made.error().message;
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(mode(folder), 0700U);
    EXPECT_EQ(mode(folder.parent_path()), 0700U);
    EXPECT_EQ(mode(folder / "file"), 0600U);
  }
}

TEST_F(PrivateFiles, WhatOthersCouldReadIsClosedToThem) {
  const fs::path folder = root_ / "old";
  fs::create_directory(folder);
  ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);
  std::ofstream(folder / "file") << "kept";
  ASSERT_EQ(::chmod((folder / "file").c_str(), 0644), 0);
  EXPECT_TRUE(make_private_folder(folder / ""));
  EXPECT_TRUE(make_private_file(folder / "file"));
  EXPECT_EQ(mode(folder), 0700U);
  EXPECT_EQ(mode(folder / "file"), 0600U);
  EXPECT_EQ(fs::file_size(folder / "file"), 4U);
}

TEST_F(PrivateFiles, WhatOthersCouldHaveMadeIsRefused) {
  const fs::path open = root_ / "open";
  fs::create_directory(open);
  for (const mode_t shared : {0770, 0777, 01777}) {
    ASSERT_EQ(::chmod(open.c_str(), shared), 0);
    EXPECT_THAT(refusal(make_private_folder(open)), HasSubstr("other users can write"));
  }
  const fs::path good = root_ / "good";
  ASSERT_TRUE(make_private_folder(good));
  fs::create_directory_symlink(good, root_ / "link");
  EXPECT_THAT(refusal(make_private_folder(root_ / "link")), HasSubstr("symbolic link"));
  EXPECT_THAT(refusal(make_private_folder(root_ / "link" / "")), HasSubstr("symbolic link"));
  fs::create_symlink(good / "elsewhere", good / "file");
  EXPECT_THAT(refusal(make_private_file(good / "file")), HasSubstr("symbolic link"));
  EXPECT_FALSE(fs::exists(good / "elsewhere"));
  ASSERT_EQ(::mkfifo((good / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(refusal(make_private_file(good / "pipe")), HasSubstr("not a regular file"));
  std::ofstream(good / "plain") << "x";
  EXPECT_FALSE(make_private_folder(good / "plain"));
  EXPECT_FALSE(make_private_folder(good / "plain" / "below"));
  if (::geteuid() != 0) return;  // Only root can give files to another user.
  for (const char* const name : {"theirs", "file of theirs"}) {
    if (name[0] == 't')
      fs::create_directory(good / name);
    else
      std::ofstream(good / name) << "x";
    ASSERT_EQ(::chown((good / name).c_str(), 12345, 12345), 0);
    EXPECT_THAT(refusal(name[0] == 't' ? make_private_folder(good / name) : make_private_file(good / name)),
                HasSubstr("another user"));
  }
}

}  // namespace
}  // namespace brimful
