// Downloads into a disk that is too small, or becomes full meanwhile. The disks are real: a tmpfs, and a file
// with an ext2 in it, which cannot reserve space.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "hub_cache_fixture.h"
#include "interference.h"
#include "running_program.h"

namespace brimful::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// A disk of its own at `at`. The destructor removes it.
class SmallDisk {
 public:
  explicit SmallDisk(fs::path at) : at_(std::move(at)) { fs::create_directories(at_); }
  ~SmallDisk() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  /// Why the disk cannot be mounted; empty when it is.
  std::string mount_memory(const std::string& size) {
    mounted_ = ::mount("none", at_.c_str(), "tmpfs", 0, ("mode=0777,size=" + size).c_str()) == 0;
    return mounted_ ? "" : std::string("no tmpfs can be mounted: ") + std::strerror(errno);
  }
  std::string mount_ext2(const fs::path& image, const std::string& size) {
    const std::string quiet = " >/dev/null 2>&1";
    const std::string make = "truncate -s " + size + " " + image.string() + " && mkfs.ext2 -q -m 0 -F " +
                             image.string() + " && mount -o loop " + image.string() + " " + at_.string();
    if (std::system(("PATH=$PATH:/usr/sbin:/sbin; { " + make + "; }" + quiet).c_str()) != 0)
      return "no ext2 in a file can be mounted";
    mounted_ = true;
    ::chmod(at_.c_str(), 0777);
    return "";
  }

 private:
  const fs::path at_;
  bool mounted_ = false;
};

/// Takes the space of the disk at `folder`, except for `left` bytes.
void fill(const fs::path& folder, std::uint64_t left) {
  struct statvfs disk {};
  ASSERT_EQ(::statvfs(folder.c_str(), &disk), 0);
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  if (free > left) std::ofstream(folder / "filler") << std::string(free - left, 'x');
}

class FullDisk : public HubCacheFixture {
 protected:
  const std::string content_ = random_text(20'000'000);
  HubServer server_{HubServer::Files{{"m-Q4_K_M.gguf", content_}}};
  SmallDisk disk_{cache()};
};

TEST_F(FullDisk, IsFoundBeforeTheFirstByte) {
  if (const std::string why = disk_.mount_memory("10m"); !why.empty()) GTEST_SKIP() << why;
  use(server_);
  expect_refused(run_brimful({"pull", kName}), "19.1 MiB are needed and");
  EXPECT_EQ(server_.file_requests(), 0U);
}

TEST_F(FullDisk, ThatBecomesFullLosesNothing) {
  if (const std::string why = disk_.mount_ext2(directory_.path() / "image", "32m"); !why.empty())
    GTEST_SKIP() << why;
  use(server_);
  RunningProgram pull({"pull", kName, "--limit-rate", "12MiB"});
  ASSERT_TRUE(pull.says("fetching"));
  while (server_.server().bytes_sent() < 4'000'000 && !pull.has_ended())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  fill(cache(), 0);
  EXPECT_EQ(pull.wait(), 1);
  EXPECT_THAT(pull.said(),
              AllOf(HasSubstr("the disk is full: free some space"), HasSubstr("what was fetched stays")));
  fs::remove(cache() / "filler");
  const ProgramRun again = run_brimful({"pull", kName});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_TRUE(content_of(file_of(again)) == content_);
}

TEST_F(FullDisk, AtAnyWriteLosesNothing) {
  use(server_);
  // Writes of the part, of its state, of the reference to the commit: whatever comes.
  for (const int call : {1, 2, 5, 300}) {
    ProgramRun full;
    {
      const Interference interference("ENOSPC", call, cache());
      full = run_brimful({"pull", kName});
    }
    if (full.exit_code == 0) continue;  // So many writes are not needed.
    EXPECT_EQ(full.exit_code, 1);
    EXPECT_THAT(full.err, AnyOf(HasSubstr("the disk is full: free some space"), HasSubstr("No space left")));
    EXPECT_THAT(full.err, Not(HasSubstr("unexpected")));
  }
  const ProgramRun again = run_brimful({"pull", kName});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_TRUE(content_of(file_of(again)) == content_);
}

}  // namespace
}  // namespace brimful::tests
