#include "engine/llama_log.h"

#include <gtest/gtest.h>

namespace brimful::engine {
namespace {

TEST(TextOfAbort, NamesWhatTheDriverFailedWithAndWhatToDo) {
  EXPECT_EQ(
      text_of_abort("ggml-cuda.cu:98: CUDA error", "CUDA error: out of memory"),
      "brimful: ggml cannot continue: CUDA error: out of memory: close what else uses the GPU, or give a "
      "smaller --vram (ggml-cuda.cu:98: CUDA error)");
  EXPECT_EQ(
      text_of_abort("ggml-cuda.cu:98: CUDA error", "CUDA error: unspecified launch failure"),
      "brimful: ggml cannot continue: CUDA error: unspecified launch failure (ggml-cuda.cu:98: CUDA error)");
}

TEST(TextOfAbort, WithoutADriverIsGgmlsOwn) {
  EXPECT_EQ(text_of_abort("ggml.c:12: not enough space", ""),
            "brimful: ggml cannot continue: ggml.c:12: not enough space");
}

}  // namespace
}  // namespace brimful::engine
