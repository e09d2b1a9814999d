#include "engine/llama_log.h"

#include <fmt/format.h>
#include <llama.h>
#include <log.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "base/visible_text.h"

namespace brimful::engine {
namespace {

std::mutex mutex;
std::string first_error;
std::string last_error;
// The last failure of a GPU's driver that ggml named, such as "CUDA error: out of memory".
std::string driver_error;

void keep(ggml_log_level level, const char* text, void*) {
  if (level != GGML_LOG_LEVEL_ERROR) return;
  const std::lock_guard lock(mutex);
  last_error = text;
  while (!last_error.empty() && last_error.back() == '\n') last_error.pop_back();
  last_error = visible_text(last_error);  // the text may quote the model file
  if (first_error.empty()) first_error = last_error;
  if (last_error.starts_with("CUDA error: ") || last_error.starts_with("ROCm error: "))
    driver_error = last_error;
}

}  // namespace

std::string text_of_abort(std::string_view message, std::string_view failure) {
  if (failure.empty()) return fmt::format("brimful: ggml cannot continue: {}", message);
  const bool memory = failure.contains("out of memory") || failure.contains("allocation failed");
  return fmt::format("brimful: ggml cannot continue: {}{} ({})", failure,
                     memory ? ": close what else uses the GPU, or give it a smaller budget" : "", message);
}

void capture_llama_logs() {
  llama_log_set(keep, nullptr);  // this sets ggml's log, too
  ggml_set_abort_callback([](const char* message) {
    const std::lock_guard lock(mutex);
    std::fprintf(stderr, "%s\n", text_of_abort(message, driver_error).c_str());
    std::fflush(stderr);
    std::_Exit(1);
  });
  common_log_set_verbosity_thold(-1);
}

std::string take_llama_error() {
  const std::lock_guard lock(mutex);
  first_error.clear();
  return std::exchange(last_error, {});
}

std::string take_first_llama_error() {
  const std::lock_guard lock(mutex);
  last_error.clear();
  return std::exchange(first_error, {});
}

Error with_llama_error(ErrorCode code, std::string what) {
  const std::string why = take_llama_error();
  return Error{code, why.empty() ? std::move(what) : fmt::format("{} ({})", what, why)};
}

}  // namespace brimful::engine
