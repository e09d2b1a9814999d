#pragma once

#include <llama.h>

#include <span>

#include "base/bytes.h"

namespace brimful::engine {

/// What a context holds in buffers of some types.
struct ContextMemory {
  Bytes kv_cache;
  Bytes compute;
};
[[nodiscard]] ContextMemory context_memory(const llama_context* context,
                                           std::span<const ggml_backend_buffer_type_t> types);

}  // namespace brimful::engine
