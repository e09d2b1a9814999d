#include "engine/context_memory.h"

#include <llama-ext.h>

namespace brimful::engine {

ContextMemory context_memory(const llama_context* context,
                             std::span<const ggml_backend_buffer_type_t> types) {
  ContextMemory out;
  const llama_memory_breakdown all = llama_get_memory_breakdown(context);
  for (ggml_backend_buffer_type_t const type : types) {
    const auto known = all.find(type);
    if (known == all.end()) continue;
    out.kv_cache += Bytes{known->second.context};
    out.compute += Bytes{known->second.compute};
  }
  return out;
}

}  // namespace brimful::engine
