#include "hardware/memory_claims.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hardware/recorded_tree.h"

namespace brimful::hardware {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

std::unique_ptr<MemoryClaim> announce(const testing::RecordedTree& folder) {
  auto claim = MemoryClaim::announce(folder.path());
  EXPECT_TRUE(claim);
  return std::move(*claim);
}

TEST(MemoryClaim, IsSeenByOthersUntilItEnds) {
  const testing::RecordedTree folder;
  auto first = announce(folder);
  auto second = announce(folder);
  EXPECT_EQ(second->begin_to_decide().starting, 1U);
  second->settle();
  first->promise(kGiB * 1024);
  const MemoryClaim::Others others = second->begin_to_decide();
  EXPECT_EQ(others.starting, 0U);
  ASSERT_THAT(others.decided, SizeIs(1));
  EXPECT_EQ(others.decided[0].pid, ::getpid());
  EXPECT_EQ(others.decided[0].promised, kGiB * 1024);
  EXPECT_LT(others.decided[0].untaken, kGiB * 1024) << "less what the process holds";
  second->settle();
  first.reset();
  EXPECT_THAT(second->begin_to_decide().decided, IsEmpty());
}

TEST(MemoryClaim, OfAProcessThatWasKilledIsForgotten) {
  const testing::RecordedTree folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto claim = MemoryClaim::announce(folder.path());
    if (claim) (*claim)->promise(kGiB);
    if (claim) static_cast<void>((*claim)->begin_to_decide());
    const char byte = claim ? 'y' : 'n';
    static_cast<void>(::write(ready[1], &byte, 1));
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_THAT(MemoryClaim::read(folder.path()).decided, SizeIs(1));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  auto claim = announce(folder);
  EXPECT_THAT(claim->begin_to_decide().decided, IsEmpty());
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(MemoryClaim, OneProcessWaitsUntilTheOtherHasDecided) {
  const testing::RecordedTree folder;
  auto claim = announce(folder);
  static_cast<void>(claim->begin_to_decide());
  int seen[2];
  ASSERT_EQ(::pipe(seen), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto other = MemoryClaim::announce(folder.path());
    Bytes promised;

    if (other) {
      const MemoryClaim::Others others = (*other)->begin_to_decide();
      if (!others.decided.empty()) promised = others.decided[0].promised;
    }
    static_cast<void>(::write(seen[1], &promised.value, sizeof promised.value));
    ::_exit(0);
  }
  claim->promise(kGiB * 3);
  claim->settle();
  std::uint64_t promised = 0;
  ASSERT_EQ(::read(seen[0], &promised, sizeof promised), static_cast<ssize_t>(sizeof promised));
  ::waitpid(child, nullptr, 0);
  ::close(seen[0]);
  ::close(seen[1]);
  EXPECT_EQ(promised, (kGiB * 3).value);
}

TEST(MemoryClaim, TwoOfOneProcessDoNotWaitForEachOther) {
  const testing::RecordedTree folder;
  auto first = announce(folder);
  auto second = announce(folder);
  static_cast<void>(first->begin_to_decide());
  static_cast<void>(second->begin_to_decide());
  second->settle();
  first->settle();
}

TEST(MemoryClaim, IgnoresWhatIsNoClaim) {
  testing::RecordedTree folder;
  folder.file("12.sock", "").file("x-1.claim", "5").file("12-1.claimed", "5").directory("7-1.claim.d");
  const MemoryClaim::Others others = MemoryClaim::read(folder.path());
  EXPECT_THAT(others.decided, IsEmpty());
  EXPECT_EQ(others.starting, 0U);
}

TEST(MemoryClaim, IsRefusedInAFolderThatIsNotThere) {
  const auto claim = MemoryClaim::announce("/nonexistent/folder");
  ASSERT_FALSE(claim);
  EXPECT_EQ(claim.error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace brimful::hardware
