#pragma once

#include <llama.h>

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"

namespace brimful::engine {

/// Computes drafts: another model, or layers of the model itself. Threading: as Engine.
class Drafter {
 public:
  struct Draft {
    std::vector<llama_token> tokens;
    /// Duration of drafting these tokens. Reading a text of more than 32 new tokens first is not included.
    double seconds = 0;
  };

  virtual ~Drafter() = default;

  /// Another text begins.
  virtual void begin() = 0;
  /// Drafts tokens that may follow `last`, which follows `text`. Returns at most `most` tokens, and fewer
  /// when the computation is cancelled. Errors: those of the tier.
  [[nodiscard]] virtual Result<Draft> draft(const std::vector<llama_token>& text, llama_token last,
                                            std::size_t most) = 0;
  /// Must be called after each pass of the text and before the context's next one. `tokens` are the first
  /// ones of the pass, which stay in the text: the first of them is at `position`. Errors: those of the tier.
  [[nodiscard]] virtual Status computed(std::span<const llama_token> tokens, std::size_t position) = 0;
};

}  // namespace brimful::engine
