#pragma once

#include <llama.h>

#include <span>

#include "base/bytes.h"

namespace brimful::engine {

/// Bytes that a context holds.
struct ContextMemory {
  Bytes kv_cache;
  Bytes compute;
};
/// The bytes that `context` holds in buffers of the given types.
[[nodiscard]] ContextMemory context_memory(const llama_context* context,
                                           std::span<const ggml_backend_buffer_type_t> types);

}  // namespace brimful::engine
