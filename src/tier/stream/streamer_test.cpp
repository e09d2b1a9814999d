#include "tier/stream/streamer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <numeric>

#include "disk_test_files.h"

namespace brimful::tier {
namespace {

using tests::BlockMemory;
using tests::DiskTestFiles;

constexpr std::uint64_t kBlock = DiskFiles::kBlock;

/// What a test sets for its readers, and what it learns from them. The threads of the readers share it.
struct Control {
  // The completion that fails, counted from now (0: the next one). Negative: none fails.
  std::atomic<std::int64_t> fail_in{-1};
  // Longest delay of a completion, in microseconds.
  std::atomic<int> slow_us{0};
  std::atomic<std::uint64_t> submitted{0};
  // Reads that nobody waited for.
  std::atomic<std::uint64_t> abandoned{0};
};

/// A reader that completes reads in random order and after random delays. It does the worst that the kernel
/// may do: from submit() on, the target holds garbage.
class UnkindReader final : public DiskReader {
 public:
  UnkindReader(const DiskFiles& files, std::size_t depth, Control& control)
      : files_(files), depth_(depth), control_(control) {}
  ~UnkindReader() override { control_.abandoned += reads_.size(); }

  void submit(const BlockRead& read) override {
    ++control_.submitted;
    std::memset(read.target, 0xEE, read.size);
    reads_.push_back(read);
  }

  BlockDone wait() override {
    if (const int slow = control_.slow_us; slow > 0) ::usleep(static_cast<unsigned>(random_() % slow));
    std::swap(reads_[random_() % reads_.size()], reads_.back());
    const BlockRead read = reads_.back();
    reads_.pop_back();
    if (control_.fail_in.fetch_sub(1) == 0) {
      return {read.tag, fail(ErrorCode::kIo, "the disk is on fire")};
    }
    const auto got =
        ::pread(files_.files()[read.file].fd, read.target, read.size, static_cast<off_t>(read.offset));
    EXPECT_GE(got, 0);
    return {read.tag, {}};
  }

  [[nodiscard]] std::size_t in_flight() const override { return reads_.size(); }
  [[nodiscard]] std::size_t depth() const override { return depth_; }
  [[nodiscard]] std::string_view name() const override { return "unkind"; }

 private:
  const DiskFiles& files_;
  const std::size_t depth_;
  Control& control_;
  std::vector<BlockRead> reads_;
  std::mt19937 random_{42};
};

ReaderFactory unkind(Control& control) {
  return [&control](const DiskFiles& files, std::size_t depth) -> Result<std::unique_ptr<DiskReader>> {
    return std::make_unique<UnkindReader>(files, depth, control);
  };
}

ReaderFactory real(ReaderKind kind) {
  return [kind](const DiskFiles& files, std::size_t depth) { return make_reader(files, kind, depth); };
}

/// Files, what a pass reads of them, and a ring.
struct Scene {
  explicit Scene(std::uint32_t seed) : random(seed), test({3'000'017, 6'000'001}) {
    files.emplace(std::move(*test.open()));
    const std::size_t count = pick(1, 40);
    std::uint64_t largest = 0;
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < count; ++i) {
      // Mostly small; some are read in several blocks; some reach past the end of their file.
      const auto file = static_cast<std::uint32_t>(pick(0, 1));
      const std::uint64_t file_blocks = (test.contents(file).size() + kBlock - 1) / kBlock;
      const std::uint64_t blocks =
          pick(0, 5) == 0 ? pick(1, std::min<std::uint64_t>(file_blocks, 1200)) : pick(1, 20);
      entries.push_back({file, pick(0, file_blocks - blocks) * kBlock, blocks * kBlock});
      largest = std::max(largest, entries.back().span);
      all += entries.back().span;
    }
    // From room for one entry to room for more than all of them.
    const std::uint64_t most = pick(0, 3) == 0 ? all + largest : 3 * largest;
    ring_size = Bytes{align_down(largest + pick(0, most - largest), kBlock)};
    ring = std::make_unique<BlockMemory>(ring_size.value);
  }

  std::uint64_t pick(std::uint64_t low, std::uint64_t high) {
    return std::uniform_int_distribution<std::uint64_t>(low, high)(random);
  }
  [[nodiscard]] bool right(const Streamer& streamer, std::size_t i) const {
    return test.equal(streamer.slot(i), entries[i].file, entries[i].offset, entries[i].span);
  }

  std::mt19937 random;
  DiskTestFiles test;
  std::optional<DiskFiles> files;
  std::vector<StreamEntry> entries;
  Bytes ring_size;
  std::unique_ptr<BlockMemory> ring;
};

/// Consumes passes as the executor does, now fast, now slowly, and looks at every byte when it comes and
/// again before its slot is given back. Stops at the first failure.
void expect_passes(Scene& scene, Streamer& streamer, int passes) {
  for (int pass = 0; pass < passes; ++pass) {
    for (std::size_t i = 0; i < scene.entries.size(); ++i) {
      if (streamer.ready(i)) {
        ASSERT_TRUE(scene.right(streamer, i)) << "pass " << pass << ", entry " << i << ": not ready";
      }
      const Status status = streamer.wait(i);
      ASSERT_TRUE(status) << status.error().message;
      ASSERT_TRUE(streamer.ready(i));
      ASSERT_TRUE(scene.right(streamer, i))
          << "pass " << pass << ", entry " << i << ": not what the file has";
      if (scene.pick(0, 7) == 0) ::usleep(static_cast<unsigned>(scene.pick(0, 700)));
      ASSERT_TRUE(scene.right(streamer, i))
          << "pass " << pass << ", entry " << i << ": overwritten while in use";
      streamer.release(i + 1);
    }
    streamer.next_pass();
  }
}

TEST(Streamer, EveryByteIsRightInEveryPass) {
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Scene scene(seed);
    Streamer streamer(*scene.files, real(seed % 3 == 0 ? ReaderKind::kThreads : ReaderKind::kAuto),
                      scene.ring->data(), scene.ring_size);
    ASSERT_TRUE(streamer.start(scene.entries));
    EXPECT_TRUE(streamer.running(scene.entries));
    expect_passes(scene, streamer, 5);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Streamer, KeepsASlotUntilItsReleaseWhateverTheReaderDoes) {
  for (std::uint32_t seed = 100; seed < 130; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Scene scene(seed);
    Control control;
    control.slow_us = seed % 2 == 0 ? 0 : 100;
    {
      Streamer streamer(*scene.files, unkind(control), scene.ring->data(), scene.ring_size);
      ASSERT_TRUE(streamer.start(scene.entries));
      expect_passes(scene, streamer, 4);
      if (testing::Test::HasFatalFailure()) return;
    }
    EXPECT_EQ(control.abandoned, 0U);
  }
}

TEST(Streamer, ReadsAheadIntoTheNextPassAndNoFurtherThanTheRing) {
  Scene scene(1);
  scene.entries.assign({{0, 0, 16 * kBlock}, {1, 0, 16 * kBlock}, {0, 64 * kBlock, 16 * kBlock}});
  scene.ring_size = Bytes{64 * kBlock};
  scene.ring = std::make_unique<BlockMemory>(scene.ring_size.value);
  Control control;
  Streamer streamer(*scene.files, unkind(control), scene.ring->data(), scene.ring_size);
  ASSERT_TRUE(streamer.start(scene.entries));
  const auto settle = [&](std::uint64_t expected) {
    for (int i = 0; i < 400 && control.submitted < expected; ++i) ::usleep(5000);
    ::usleep(20'000);
    EXPECT_EQ(control.submitted, expected);
  };
  settle(3);  // a fourth entry, the first of the next pass, would overwrite the first one of this pass
  ASSERT_TRUE(streamer.wait(0));
  streamer.release(1);
  settle(4);
  ASSERT_TRUE(streamer.wait(2));
  EXPECT_TRUE(scene.right(streamer, 2));
  streamer.release(3);
  streamer.next_pass();
  settle(6);
  EXPECT_EQ(streamer.statistics().read, Bytes{6 * 16 * kBlock});
}

/// Reads any bytes, as a reader that sends does, and notes what is read.
class NotingReader final : public DiskReader {
 public:
  NotingReader(const DiskTestFiles& test, std::vector<BlockRead>& reads) : test_(test), reads_(reads) {}
  void submit(const BlockRead& read) override {
    std::memcpy(read.target, test_.contents(read.file).data() + read.offset, read.size);
    reads_.push_back(read);
    done_.push_back(read.tag);
  }
  BlockDone wait() override {
    const std::uint64_t tag = done_.front();
    done_.pop_front();
    return {tag, {}};
  }
  [[nodiscard]] std::size_t in_flight() const override { return done_.size(); }
  [[nodiscard]] std::size_t depth() const override { return 4; }
  [[nodiscard]] std::string_view name() const override { return "noting"; }

 private:
  const DiskTestFiles& test_;
  std::vector<BlockRead>& reads_;
  std::deque<std::uint64_t> done_;
};

TEST(Streamer, NoReadCrossesFromAPieceOfAUnitIntoTheNext) {
  Scene scene(1);
  constexpr std::uint64_t kPiece = 3'000'017 / 7;
  constexpr std::uint64_t kLarge = 2'300'000;  // more than one read
  scene.entries = {{0, 5, 7 * kPiece - 5, 0, kPiece}, {1, 0, 2 * kLarge, 0, kLarge}, {1, 0, 6'000'001}};
  scene.ring_size = align_up(Bytes{8'000'000}, Bytes{kBlock});
  scene.ring = std::make_unique<BlockMemory>(scene.ring_size.value);
  Control control;
  std::vector<BlockRead> reads;
  {
    Streamer streamer(
        *scene.files,
        [&](const DiskFiles&, std::size_t) -> Result<std::unique_ptr<DiskReader>> {
          return std::make_unique<NotingReader>(scene.test, reads);
        },
        scene.ring->data(), scene.ring_size);
    ASSERT_TRUE(streamer.start(scene.entries));
    expect_passes(scene, streamer, 2);
  }
  std::size_t of_pieces = 0;
  for (const BlockRead& read : reads) {
    const StreamEntry& entry = scene.entries[read.tag];
    if (entry.piece == 0) continue;
    const std::uint64_t begin = read.offset - entry.offset;
    EXPECT_EQ(begin / entry.piece, (begin + read.size - 1) / entry.piece) << read.offset << ": " << read.size;
    ++of_pieces;
  }
  EXPECT_GE(of_pieces, 2 * (7 + 4));
}

TEST(Streamer, AReadErrorEndsTheWaitAndStartRecovers) {
  for (std::uint32_t seed = 200; seed < 220; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Scene scene(seed);
    Control control;
    Streamer streamer(*scene.files, unkind(control), scene.ring->data(), scene.ring_size);
    control.fail_in = static_cast<std::int64_t>(scene.pick(0, 2 * scene.entries.size()));
    ASSERT_TRUE(streamer.start(scene.entries));
    Status status;
    for (int pass = 0; pass < 4 && status; ++pass) {
      for (std::size_t i = 0; i < scene.entries.size() && status; ++i) {
        status = streamer.wait(i);
        if (!status) break;
        ASSERT_TRUE(scene.right(streamer, i));
        streamer.release(i + 1);
      }
      if (status) streamer.next_pass();
    }
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kIo);
    EXPECT_EQ(status.error().message, "the disk is on fire");
    EXPECT_FALSE(streamer.running(scene.entries));
    EXPECT_FALSE(streamer.wait(0)) << "an error stays until the next start()";
    ASSERT_TRUE(streamer.start(scene.entries));
    expect_passes(scene, streamer, 2);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Streamer, StopsAtAnyMomentAndStartsAgain) {
  Scene scene(300);
  for (const ReaderFactory& factory : {real(ReaderKind::kAuto), real(ReaderKind::kThreads)}) {
    Streamer streamer(*scene.files, factory, scene.ring->data(), scene.ring_size);
    streamer.stop();  // before it ran
    for (int i = 0; i < 25; ++i) {
      ASSERT_TRUE(streamer.start(scene.entries));
      const std::size_t until = scene.pick(0, scene.entries.size() - 1);
      for (std::size_t n = 0; n < until; ++n) {
        ASSERT_TRUE(streamer.wait(n));
        ASSERT_TRUE(scene.right(streamer, n));
        streamer.release(n + 1);
      }
      ::usleep(static_cast<unsigned>(scene.pick(0, 300)));
      streamer.stop();
      EXPECT_FALSE(streamer.running(scene.entries));
      std::memset(scene.ring->data(), 0x55, scene.ring_size.value);
      ASSERT_TRUE(std::all_of(scene.ring->data(), scene.ring->data() + scene.ring_size.value,
                              [](std::byte b) { return b == std::byte{0x55}; }))
          << "a read was still in flight after stop()";
    }
  }
}

TEST(Streamer, TakesAnotherScheduleInMidPass) {
  Scene scene(400);
  Streamer streamer(*scene.files, real(ReaderKind::kAuto), scene.ring->data(), scene.ring_size);
  for (int i = 0; i < 10; ++i) {
    std::shuffle(scene.entries.begin(), scene.entries.end(), scene.random);
    ASSERT_TRUE(streamer.start(scene.entries));
    expect_passes(scene, streamer, 1);
    if (testing::Test::HasFatalFailure()) return;
    ASSERT_TRUE(streamer.wait(0));
  }
}

TEST(Streamer, OfNothingReadsNothing) {
  Scene scene(500);
  Control control;
  Streamer streamer(*scene.files, unkind(control), scene.ring->data(), scene.ring_size);
  ASSERT_TRUE(streamer.start({}));
  EXPECT_TRUE(streamer.running({}));
  EXPECT_FALSE(streamer.running(scene.entries));
  EXPECT_EQ(control.submitted, 0U);
}

TEST(Streamer, WithoutAReaderFailsAndLaterRecovers) {
  Scene scene(600);
  bool broken = true;
  Streamer streamer(
      *scene.files,
      [&](const DiskFiles& files, std::size_t depth) -> Result<std::unique_ptr<DiskReader>> {
        if (broken) return fail(ErrorCode::kUnsupported, "no reader today");
        return make_reader(files, ReaderKind::kAuto, depth);
      },
      scene.ring->data(), scene.ring_size);
  const Status status = streamer.start(scene.entries);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kUnsupported);
  EXPECT_FALSE(streamer.running(scene.entries));
  broken = false;
  ASSERT_TRUE(streamer.start(scene.entries));
  expect_passes(scene, streamer, 1);
}

TEST(Streamer, CountsTheTimeItKeptTheComputeWaiting) {
  Scene scene(700);
  scene.entries.resize(1);
  Control control;
  Streamer streamer(*scene.files, unkind(control), scene.ring->data(), scene.ring_size);
  control.slow_us = 20'000;
  ASSERT_TRUE(streamer.start(scene.entries));
  expect_passes(scene, streamer, 5);
  EXPECT_GT(streamer.statistics().stalled, std::chrono::milliseconds(2));
}

}  // namespace
}  // namespace brimful::tier
