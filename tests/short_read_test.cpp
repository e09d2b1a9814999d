// A disk may return fewer bytes than were requested. Both readers continue from there, and the tokens are
// the same.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "synth/synth.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace {

std::atomic<bool> cut_reads{false};
std::atomic<int> cuts{0};

/// Returns how much of `size` bytes the disk claims to have read: every other time fewer, and not always
/// whole blocks.
long cut(long size) {
  static std::atomic<unsigned> calls{0};
  const unsigned call = calls++;
  if (!cut_reads || size <= 4096 || call % 2 == 0) return size;
  ++cuts;
  // A whole block at least: a reader gives up after some reads without one, which chance could give it.
  return call % 4 == 1 ? std::max(size / 2, 4096L) : std::min(size, 4096L + 17);
}

}  // namespace

// These replace the functions of libc and liburing.
extern "C" ssize_t pread(int fd, void* data, size_t size, off_t offset) {
  return cut(::syscall(SYS_pread64, fd, data, size, offset));
}
extern "C" int __io_uring_get_cqe(io_uring* ring, io_uring_cqe** cqe, unsigned submit, unsigned wait,
                                  sigset_t* mask) {
  using Real = int (*)(io_uring*, io_uring_cqe**, unsigned, unsigned, sigset_t*);
  static const auto real = reinterpret_cast<Real>(::dlsym(RTLD_NEXT, "__io_uring_get_cqe"));
  const int result = real(ring, cqe, submit, wait, mask);
  if (result == 0 && *cqe != nullptr && (*cqe)->res > 0) (*cqe)->res = static_cast<int>(cut((*cqe)->res));
  return result;
}

namespace brimful::tests {
namespace {

void expect_right_tokens_with(tier::ReaderKind kind) {
  const TemporaryDirectory directory;
  const auto design = synth::design_synth({.like = "llama-tiny", .type = "Q8_0"});
  ASSERT_TRUE(design);
  const auto written = synth::write_synth(*design, directory.path() / "model.gguf", true, [](Bytes) {});
  ASSERT_TRUE(written);
  const Settings settings{.context = 256, .ubatch = 64};
  const PlainModel plain(written->front(), settings);
  ASSERT_NE(plain.context(), nullptr);
  const auto prompt = some_tokens(plain.context(), 40);
  const Trace expected = trace(plain.context(), prompt, 4);

  cut_reads = true;
  cuts = 0;
  const auto model = TieredModel::load(
      written->front(), settings, percent_of_weights(25),
      [&](const tier::DiskFiles& files, std::size_t depth) { return make_reader(files, kind, depth); });
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_GT((*model)->placement().streamed_per_pass.value, 0U);
  EXPECT_TRUE(trace((*model)->context(), prompt, 4) == expected) << "not the oracle's logits";
  cut_reads = false;
  EXPECT_GT(cuts, 20);
}

TEST(ShortReads, AreContinuedByIoUring) {
  const auto ring = [] {
    io_uring probe{};
    const bool works = ::io_uring_queue_init(1, &probe, 0) == 0;
    if (works) ::io_uring_queue_exit(&probe);
    return works;
  };
  if (!ring()) GTEST_SKIP() << "NOT TESTED with io_uring: this kernel refuses it";
  expect_right_tokens_with(tier::ReaderKind::kUring);
}

TEST(ShortReads, AreContinuedByThreads) { expect_right_tokens_with(tier::ReaderKind::kThreads); }

}  // namespace
}  // namespace brimful::tests
