#include <brimful/process.h>
#include <malloc.h>

#include <cstdlib>

#include "engine/remote_devices.h"
#include "foreign/escape.h"
#include "memory/program_pages.h"

namespace brimful {

ProcessSettings all_process_settings() {
  return {.one_heap = true, .small_pages = true, .signal_handlers = true, .pinned_memory = true};
}

void adjust_process(const ProcessSettings& settings) {
  if (settings.one_heap) {
    ::mallopt(M_ARENA_MAX, 1);
    ::mallopt(M_MMAP_THRESHOLD, 256 * 1024);
  }
  if (settings.small_pages) memory::prefer_small_pages();
  if (settings.signal_handlers) foreign::Escape::allow();
  if (settings.pinned_memory) ::setenv("GGML_CUDA_REGISTER_HOST", "1", 0);
}

Status add_rpc_server(const std::string& endpoint) { return engine::add_rpc_server(endpoint, "endpoint"); }

}  // namespace brimful
