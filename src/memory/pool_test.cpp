#include "memory/pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace brimful::memory {
namespace {

TEST(Pool, CountsExactlyAndByTag) {
  Pool pool("host", Bytes{1000});
  const auto weights = pool.reserve(Bytes{333}, Tag::kWeights);
  const auto ring = pool.reserve(Bytes{1}, Tag::kRing);
  ASSERT_TRUE(weights && ring);
  EXPECT_EQ(weights->bytes(), Bytes{333});
  EXPECT_EQ(pool.reserved(), Bytes{334});
  EXPECT_EQ(pool.reserved(Tag::kWeights), Bytes{333});
  EXPECT_EQ(pool.reserved(Tag::kRing), Bytes{1});
  EXPECT_EQ(pool.reserved(Tag::kKvCache), Bytes{});
  EXPECT_EQ(pool.capacity(), Bytes{1000});
}

TEST(Pool, GivesTheLastByteAndNotOneMore) {
  Pool pool("host", Bytes{1000});
  const auto all = pool.reserve(Bytes{1000}, Tag::kWeights);
  ASSERT_TRUE(all);
  EXPECT_TRUE(pool.reserve(Bytes{0}, Tag::kRing));
  const auto more = pool.reserve(Bytes{1}, Tag::kRing);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, ErrorCode::kBudgetExceeded);
  EXPECT_EQ(pool.reserved(), Bytes{1000});
  EXPECT_EQ(pool.reserved(Tag::kRing), Bytes{});
}

TEST(Pool, APoolWithinAnotherReservesInBoth) {
  Pool host("host", Bytes{1000});
  const auto weights = host.reserve(Bytes{600}, Tag::kWeights);
  Pool draft("draft", host, Tag::kDraft);
  EXPECT_EQ(draft.capacity(), Bytes{1000});
  {
    const auto ring = draft.reserve(Bytes{300}, Tag::kRing);
    const auto cache = draft.reserve(Bytes{100}, Tag::kKvCache);
    ASSERT_TRUE(ring && cache);
    EXPECT_EQ(draft.reserved(Tag::kRing), Bytes{300});
    EXPECT_EQ(host.reserved(Tag::kRing), Bytes{});
    EXPECT_EQ(host.reserved(Tag::kDraft), Bytes{400});
    const auto more = draft.reserve(Bytes{1}, Tag::kRing);
    ASSERT_FALSE(more);
    EXPECT_NE(more.error().message.find("draft model 400 B"), std::string::npos) << more.error().message;
    EXPECT_EQ(draft.reserved(), Bytes{400});
  }
  EXPECT_EQ(draft.reserved(), Bytes{});
  EXPECT_EQ(host.reserved(), Bytes{600});
}

TEST(Pool, RefusesSumsThatWouldWrapAround) {
  Pool pool("host", Bytes{1000});
  const auto some = pool.reserve(Bytes{10}, Tag::kWeights);
  EXPECT_FALSE(pool.reserve(Bytes{UINT64_MAX}, Tag::kWeights));
  EXPECT_FALSE(pool.reserve(Bytes{UINT64_MAX - 9}, Tag::kWeights));
  EXPECT_EQ(pool.reserved(), Bytes{10});
}

TEST(Pool, TheErrorListsWhatIsHeld) {
  Pool pool("host", kMiB * 100);
  const auto nothing_held = pool.reserve(kMiB * 101, Tag::kWeights);
  ASSERT_FALSE(nothing_held);
  EXPECT_EQ(
      nothing_held.error().message,
      "101.0 MiB more for weights exceed the host budget of 100.0 MiB by 1.0 MiB (nothing is held yet)");
  const auto weights = pool.reserve(kMiB * 80, Tag::kWeights);
  const auto runtime = pool.reserve(kMiB * 5, Tag::kRuntime);
  const auto error = pool.reserve(kMiB * 16, Tag::kKvCache);
  ASSERT_FALSE(error);
  EXPECT_EQ(
      error.error().message,
      "16.0 MiB more for KV cache exceed the host budget of 100.0 MiB by 1.0 MiB (held: weights 80.0 MiB, "
      "runtime 5.0 MiB)");
}

TEST(Reservation, GivesItsBytesBackAtItsEnd) {
  Pool pool("host", Bytes{100});
  {
    const auto held = pool.reserve(Bytes{100}, Tag::kCompute);
    ASSERT_TRUE(held);
    EXPECT_FALSE(pool.reserve(Bytes{1}, Tag::kCompute));
  }
  EXPECT_EQ(pool.reserved(), Bytes{});
  EXPECT_EQ(pool.reserved(Tag::kCompute), Bytes{});
  EXPECT_TRUE(pool.reserve(Bytes{100}, Tag::kRing));
}

TEST(Reservation, AMoveTakesTheBytesAlongOnce) {
  Pool pool("host", Bytes{100});
  std::optional<Reservation> first = std::move(*pool.reserve(Bytes{60}, Tag::kRing));
  Reservation second = std::move(*first);
  EXPECT_EQ(first->bytes(), Bytes{});
  EXPECT_EQ(second.bytes(), Bytes{60});
  first.reset();
  EXPECT_EQ(pool.reserved(), Bytes{60});

  Reservation third = std::move(*pool.reserve(Bytes{40}, Tag::kWeights));
  third = std::move(second);  // what it held goes back
  EXPECT_EQ(pool.reserved(Tag::kWeights), Bytes{});
  EXPECT_EQ(pool.reserved(Tag::kRing), Bytes{60});
  Reservation& self = third;
  third = std::move(self);
  EXPECT_EQ(third.bytes(), Bytes{60});
  third = Reservation();
  EXPECT_EQ(pool.reserved(), Bytes{});
}

TEST(Pool, NeverPassesItsCapacityUnderThreads) {
  constexpr std::uint64_t kCapacity = 64;
  Pool pool("host", Bytes{kCapacity});
  std::atomic<std::uint64_t> held{0};
  std::atomic<std::uint64_t> most{0};
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 2000; ++i) {
        const std::uint64_t bytes = 1 + (i * 7 + t * 13) % 40;
        auto reservation = pool.reserve(Bytes{bytes}, static_cast<Tag>(i % 5));
        if (!reservation) continue;
        const std::uint64_t now = held += bytes;
        for (std::uint64_t seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        if (i % 16 == 0) std::this_thread::yield();
        held -= bytes;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, kCapacity);
  EXPECT_EQ(pool.reserved(), Bytes{});
  for (int tag = 0; tag < 5; ++tag) EXPECT_EQ(pool.reserved(static_cast<Tag>(tag)), Bytes{});
}

TEST(Pool, ItsCapacityMovesButNotBelowWhatIsHeld) {
  Pool pool("host", Bytes{100});
  Pool part("draft model's", pool, Tag::kDraft);
  const auto held = part.reserve(Bytes{60}, Tag::kWeights);
  ASSERT_TRUE(held);
  const auto refused = pool.resize(Bytes{59});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBudgetExceeded);
  EXPECT_EQ(pool.capacity(), Bytes{100});
  ASSERT_TRUE(pool.resize(Bytes{60}));
  EXPECT_EQ(part.capacity(), Bytes{60}) << "a part's is its parent's";
  EXPECT_FALSE(part.reserve(Bytes{1}, Tag::kWeights));
  ASSERT_TRUE(pool.resize(Bytes{61}));
  EXPECT_TRUE(part.reserve(Bytes{1}, Tag::kWeights));
}

}  // namespace
}  // namespace brimful::memory
