#include "engine/llama_log.h"

#include <fmt/format.h>
#include <llama.h>
#include <log.h>

#include <atomic>
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
// Whether a device's driver has reported that its memory is full.
std::atomic<bool> memory_is_full = false;

void keep(ggml_log_level level, const char* text, void*) {
  if (level != GGML_LOG_LEVEL_ERROR) return;
  const std::lock_guard lock(mutex);
  last_error = text;
  while (!last_error.empty() && last_error.back() == '\n') last_error.pop_back();
  last_error = visible_text(last_error);  // the text may quote the model file
  if (last_error.find("out of memory") != std::string::npos) memory_is_full = true;
  if (first_error.empty()) first_error = last_error;
}

}  // namespace

void capture_llama_logs() {
  llama_log_set(keep, nullptr);  // this sets ggml's log, too
  ggml_set_abort_callback([](const char* message) {
    std::fprintf(stderr, "brimful: ggml cannot continue: %s%s\n", message,
                 memory_is_full
                     ? ": the memory of a GPU is full: close other programs that use it, or give it "
                       "a smaller budget"
                     : "");
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
