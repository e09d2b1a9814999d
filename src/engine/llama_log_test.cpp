#include "engine/llama_log.h"

#include <ggml.h>
#include <gtest/gtest.h>

namespace brimful::engine {
namespace {

/// Ends as ggml's CUDA back end does when one of its pools gets no memory: it logs why, and aborts.
void abort_after(const char* error) {
  capture_llama_logs();
  ggml_log_callback log = nullptr;
  void* data = nullptr;
  ggml_log_get(&log, &data);
  log(GGML_LOG_LEVEL_ERROR, error, data);
  GGML_ABORT("CUDA error");
}

TEST(LlamaLogDeathTest, SaysWhatToDoWhenTheMemoryOfAGpuIsFull) {
  EXPECT_EXIT(abort_after("CUDA error: out of memory\n"), testing::ExitedWithCode(1),
              "brimful: ggml cannot continue: CUDA error: out of memory: close what else uses the GPU");
}

TEST(TextOfAbort, NamesWhatTheDriverFailedWithAndWhatToDo) {
  EXPECT_EQ(
      text_of_abort("ggml-cuda.cu:98: CUDA error", "CUDA error: out of memory"),
      "brimful: ggml cannot continue: CUDA error: out of memory: close what else uses the GPU, or give it a "
      "smaller budget (ggml-cuda.cu:98: CUDA error)");
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
