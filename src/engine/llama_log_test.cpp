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
  EXPECT_EXIT(
      abort_after("CUDA error: out of memory\n"), testing::ExitedWithCode(1),
      "brimful: ggml cannot continue: .*CUDA error: the memory of a GPU is full: close other programs");
  EXPECT_EXIT(abort_after("CUDA error: an illegal memory access\n"), testing::ExitedWithCode(1),
              "brimful: ggml cannot continue: .*CUDA error\n");
}

}  // namespace
}  // namespace brimful::engine
