#include "tier/weights/host_buffer.h"

#include <gtest/gtest.h>

namespace brimful::tier {
namespace {

using memory::Tag;

struct BufferFree {
  void operator()(ggml_backend_buffer_t buffer) const { ggml_backend_buffer_free(buffer); }
};
using BufferPtr = std::unique_ptr<ggml_backend_buffer, BufferFree>;

TEST(HostBufferType, CountsWhatIsThereWhenTheBudgetIsCommitted) {
  HostBufferType type(nullptr);
  memory::Pool pool("host", kMiB * 4);
  const BufferPtr cache(ggml_backend_buft_alloc_buffer(type.handle(), kMiB.value));
  const BufferPtr kept(type.allocate_kept(2 * kMiB.value));
  EXPECT_EQ(type.kv_bytes(), kMiB);
  EXPECT_EQ(type.kept_bytes(), kMiB * 2);
  ASSERT_TRUE(type.commit(pool));
  EXPECT_EQ(pool.reserved(Tag::kKvCache), kMiB);
  EXPECT_EQ(pool.reserved(Tag::kWeights), kMiB * 2);
}

TEST(HostBufferType, OnlyKeptBuffersSurviveDiscard) {
  HostBufferType type(nullptr);
  const BufferPtr cache(ggml_backend_buft_alloc_buffer(type.handle(), kMiB.value));
  const BufferPtr kept(type.allocate_kept(kMiB.value));
  auto* const discarded = static_cast<char*>(ggml_backend_buffer_get_base(cache.get()));
  auto* const stays = static_cast<char*>(ggml_backend_buffer_get_base(kept.get()));
  *discarded = *stays = 42;
  type.discard();
  EXPECT_EQ(*discarded, 0);
  EXPECT_EQ(*stays, 42);
}

TEST(HostBufferType, PastTheBudgetNothingIsAllocated) {
  HostBufferType type(nullptr);
  memory::Pool pool("host", kMiB * 4);
  ASSERT_TRUE(type.commit(pool));
  BufferPtr kept(type.allocate_kept(3 * kMiB.value));
  ASSERT_NE(kept, nullptr);
  EXPECT_EQ(type.allocate_kept(2 * kMiB.value), nullptr);
  EXPECT_EQ(ggml_backend_buft_alloc_buffer(type.handle(), 2 * kMiB.value), nullptr);
  EXPECT_EQ(pool.reserved(), kMiB * 3);
  kept.reset();
  EXPECT_EQ(pool.reserved(), Bytes{});
}

}  // namespace
}  // namespace brimful::tier
