#include "base/replace_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "temporary_directory.h"

namespace brimful {
namespace {

namespace fs = std::filesystem;
using tests::TemporaryDirectory;

std::string content(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(ReplaceFile, WritesANewOneWithItsFoldersAndReplacesIt) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "a" / "b" / "state";
  ASSERT_TRUE(replace_file(file, [](std::ostream& out) { out << "long old text"; }));
  ASSERT_TRUE(replace_file(file, [](std::ostream& out) { out << "new"; }));
  EXPECT_EQ(content(file), "new");
  EXPECT_EQ(files_in(file.parent_path()), 1U);
}

TEST(ReplaceFile, KeepsTheOldOneWhereItFails) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "state";
  ASSERT_TRUE(replace_file(file, [](std::ostream& out) { out << "old"; }));
  const Status failed = replace_file(file, [](std::ostream& out) { out.setstate(std::ios::badbit); });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kIo);
  EXPECT_EQ(content(file), "old");
  EXPECT_EQ(files_in(directory.path()), 1U);
  fs::create_directory(directory.path() / "folder");
  ASSERT_FALSE(replace_file(directory.path() / "folder", [](std::ostream& out) { out << "new"; }));
  EXPECT_EQ(files_in(directory.path()), 2U);
}

TEST(ReplaceFile, IsPrivateWhereThatIsAskedFor) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "mine" / "state";
  ASSERT_TRUE(replace_file(
      file, [](std::ostream& out) { out << "x"; }, Readers::kUser));
  struct stat facts {};
  ASSERT_EQ(::stat(file.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777U, 0600U);
  ASSERT_EQ(::stat(file.parent_path().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777U, 0700U);
}

}  // namespace
}  // namespace brimful
