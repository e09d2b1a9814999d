#include "tier/io/disk_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <numeric>
#include <thread>

#include "disk_test_files.h"
#include "tier/io/reader_impl.h"

namespace brimful::tier {
namespace {

using tests::BlockMemory;
using tests::DiskTestFiles;

constexpr std::uint64_t kBlock = DiskFiles::kBlock;

class DiskReaderTest : public testing::TestWithParam<ReaderKind> {
 protected:
  std::unique_ptr<DiskReader> make(const DiskFiles& files, std::size_t depth) {
    auto reader = make_reader(files, GetParam(), depth);
    if (!reader) return nullptr;
    return std::move(*reader);
  }
};

#define MAKE_READER_OR_SKIP(name, files, depth) \
  auto name = make(files, depth);               \
  if (name == nullptr) GTEST_SKIP() << "no io_uring here: only threads are tested"

/// Reads every block of every file in a random order, and compares.
void expect_reads_everything(DiskReader& reader, const DiskTestFiles& test, std::uint64_t block) {
  std::vector<BlockRead> reads;
  std::vector<BlockMemory> memory;
  for (std::uint32_t file = 0; file < test.profile().files.size(); ++file) {
    const std::uint64_t size = align_up(test.contents(file).size(), kBlock);
    memory.emplace_back(size);
    for (std::uint64_t at = 0; at < size; at += block) {
      reads.push_back({file, at, static_cast<std::uint32_t>(std::min(block, size - at)),
                       memory[file].data() + at, reads.size()});
    }
  }
  std::shuffle(reads.begin(), reads.end(), std::mt19937(7));
  std::vector<bool> ended(reads.size());
  const auto take_one = [&] {
    const BlockDone done = reader.wait();
    EXPECT_TRUE(done.status) << done.status.error().message;
    EXPECT_FALSE(ended[done.tag]) << "a read ended twice";
    ended[done.tag] = true;
  };
  for (const BlockRead& read : reads) {
    if (reader.in_flight() == reader.depth()) take_one();
    reader.submit(read);
  }
  while (reader.in_flight() > 0) take_one();
  EXPECT_TRUE(std::all_of(ended.begin(), ended.end(), [](bool b) { return b; }));
  for (std::uint32_t file = 0; file < memory.size(); ++file) {
    EXPECT_TRUE(test.equal(memory[file].data(), file, 0, test.contents(file).size())) << test.path(file);
  }
}

TEST_P(DiskReaderTest, ReadsTheFilesToTheirLastByte) {
  const DiskTestFiles test({3 * kBlock, 5'000'001, 1, kBlock + 1});  // most end within a block
  const auto files = test.open();
  ASSERT_TRUE(files) << files.error().message;
  for (const std::uint64_t block : {kBlock, 16 * kBlock, 1024 * kBlock}) {
    MAKE_READER_OR_SKIP(reader, *files, 8);
    EXPECT_EQ(reader->depth(), 8U);
    expect_reads_everything(*reader, test, block);
  }
}

TEST_P(DiskReaderTest, ReadsFromMemoryFileSystems) {
  const std::filesystem::path shm = "/dev/shm";
  if (!std::filesystem::is_directory(shm))
    GTEST_SKIP() << "no /dev/shm: reads that are not direct are not tested";
  std::string name = shm / "brimful-test-XXXXXX";
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  {
    const DiskTestFiles test({1'000'003}, name);
    const auto files = test.open();
    EXPECT_TRUE(files) << files.error().message;
    if (files) {
      if (auto reader = make(*files, 4)) expect_reads_everything(*reader, test, 8 * kBlock);
    }
  }
  std::filesystem::remove_all(name);
}

TEST_P(DiskReaderTest, ATruncatedFileIsAnErrorThatNamesIt) {
  const DiskTestFiles test({4'000'000});
  const auto files = test.open();
  ASSERT_TRUE(files);
  MAKE_READER_OR_SKIP(reader, *files, 4);
  for (const std::uint64_t left : {3'000'000U, 2'097'152U, 5'000U, 0U}) {
    std::filesystem::resize_file(test.path(0), left);
    BlockMemory memory(2 << 20);
    const auto begin = std::chrono::steady_clock::now();
    reader->submit({0, align_down(left / 2, kBlock), 2 << 20, memory.data(), 5});
    const BlockDone done = reader->wait();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
    EXPECT_EQ(done.tag, 5U);
    ASSERT_FALSE(done.status) << left;
    EXPECT_EQ(done.status.error().code, ErrorCode::kIo);
    EXPECT_NE(done.status.error().message.find(test.path(0).string()), std::string::npos);
    EXPECT_EQ(reader->in_flight(), 0U);
  }
  EXPECT_FALSE(files->check_unchanged());
}

TEST_P(DiskReaderTest, MayEndWithReadsInFlight) {
  const DiskTestFiles test({8 << 20});
  const auto files = test.open();
  ASSERT_TRUE(files);
  BlockMemory memory(8 << 20);
  for (int i = 0; i < 20; ++i) {
    MAKE_READER_OR_SKIP(reader, *files, 8);
    for (std::uint64_t n = 0; n < 8; ++n) reader->submit({0, n << 20, 1 << 20, memory.data() + (n << 20), n});
    reader.reset();
    std::memset(memory.data(), i, 8 << 20);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // a tick of the file system's clock
    ASSERT_TRUE(std::all_of(memory.data(), memory.data() + (8 << 20), [&](std::byte b) {
      return b == std::byte(i);
    })) << "written to after its end";
  }
}

TEST_P(DiskReaderTest, AReplacedFileIsReadAsItWas) {
  const DiskTestFiles test({1 << 20});
  const auto files = test.open();
  ASSERT_TRUE(files);
  MAKE_READER_OR_SKIP(reader, *files, 4);
  const auto other = test.path(0).parent_path() / "other";
  std::ofstream(other) << std::string(1 << 20, 'x');
  std::filesystem::rename(other, test.path(0));
  expect_reads_everything(*reader, test, 16 * kBlock);
  EXPECT_TRUE(files->check_unchanged());
  const auto again = test.open();  // the new file must not be taken for the old one
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kIo);
}

INSTANTIATE_TEST_SUITE_P(Kinds, DiskReaderTest, testing::Values(ReaderKind::kUring, ReaderKind::kThreads),
                         [](const auto& test) {
                           return test.param == ReaderKind::kUring ? "Uring" : "Threads";
                         });

TEST(DiskFiles, NoticesAWriteInPlace) {
  const DiskTestFiles test({100'000, 50'000});
  const auto files = test.open();
  ASSERT_TRUE(files);
  EXPECT_TRUE(files->check_unchanged());
  std::this_thread::sleep_for(
      std::chrono::milliseconds(20));  // longer than a tick of the file system's clock
  const int fd = ::open(test.path(1).c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(::pwrite(fd, "x", 1, 777), 1);
  ::close(fd);
  const Status status = files->check_unchanged();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
  EXPECT_NE(status.error().message.find(test.path(1).string()), std::string::npos);
  EXPECT_FALSE(test.open());
}

TEST(DiskFiles, SaysWhichFileIsMissing) {
  const DiskTestFiles test({100, 200});
  std::filesystem::remove(test.path(1));
  const auto files = test.open();
  ASSERT_FALSE(files);
  EXPECT_EQ(files.error().code, ErrorCode::kNotFound);
  EXPECT_NE(files.error().message.find(test.path(1).string()), std::string::npos);
}

TEST(DiskFiles, MovesWithoutClosing) {
  const DiskTestFiles test({100'000});
  auto first = test.open();
  ASSERT_TRUE(first);
  const DiskFiles second = std::move(*first);
  EXPECT_TRUE(second.check_unchanged());
  const auto reader = make_reader(second, ReaderKind::kAuto, 2);
  ASSERT_TRUE(reader);
  expect_reads_everything(**reader, test, 4 * kBlock);
}

DiskFiles::File file_of(std::uint64_t size) {
  return {.fd = -1, .direct = true, .size = size, .path = "model"};
}

TEST(FinishBlock, TakesShortReadsForAsLongAsTheyGetOn) {
  constexpr std::uint32_t kSize = 2 << 20;
  const auto file = file_of(1 << 30);
  BlockState state{{0, 0, kSize, nullptr, 0}};
  int calls = 0;
  for (;; ++calls) {
    ASSERT_LT(calls, 1000);
    const auto end = finish_block(
        file, state, std::min<std::int64_t>(65'536 + 100, static_cast<std::int64_t>(kSize - state.done)));
    if (!end) {
      EXPECT_EQ(state.done % kBlock, 0U);
      continue;
    }
    EXPECT_TRUE(*end) << end->error().message;
    break;
  }
  EXPECT_EQ(state.done, kSize);
}

TEST(FinishBlock, AtTheEndOfTheFileTakesWhatThereIs) {
  BlockState state{{0, 8192, 8192, nullptr, 0}};
  const auto end = finish_block(file_of(8192 + 5000), state, 5000);
  ASSERT_TRUE(end);
  EXPECT_TRUE(*end);
}

TEST(FinishBlock, TriesTransientErrorsAgainButNotForEver) {
  for (const int error : {EIO, EINTR, EAGAIN}) {
    BlockState state{{0, 0, 8192, nullptr, 0}};
    int tries = 0;
    std::optional<Status> end;
    while (!end && tries < 100) {
      ++tries;
      end = finish_block(file_of(1 << 20), state, -error);
    }
    ASSERT_TRUE(end);
    EXPECT_GT(tries, 1);
    EXPECT_LT(tries, 20);
    ASSERT_FALSE(*end);
    EXPECT_EQ(end->error().code, ErrorCode::kIo);
    EXPECT_NE(end->error().message.find("model: "), std::string::npos);
  }
  BlockState state{{0, 0, 8192, nullptr, 0}};
  const auto end = finish_block(file_of(1 << 20), state, -EBADF);
  ASSERT_TRUE(end);  // at once
  EXPECT_FALSE(*end);
}

TEST(FinishBlock, AnErrorThatPassesLeavesNoTrace) {
  BlockState state{{0, 0, 8192, nullptr, 0}};
  EXPECT_FALSE(finish_block(file_of(1 << 20), state, -EIO));
  EXPECT_FALSE(finish_block(file_of(1 << 20), state, 4096));
  EXPECT_EQ(state.done, 4096U);
  const auto end = finish_block(file_of(1 << 20), state, 4096);
  ASSERT_TRUE(end);
  EXPECT_TRUE(*end);
}

}  // namespace
}  // namespace brimful::tier
