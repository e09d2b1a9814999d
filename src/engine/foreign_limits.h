#pragma once

#include <cstdint>
#include <optional>

#include "base/fence.h"

namespace strata::engine {

/// What grammars, schemas, chat templates and parsers of answers may take together. One such text is read at
/// a time, and beside it the executor's thread samples under one grammar at a time.
struct ForeignLimits {
  FenceLimits reading;   ///< of one request's texts: whoever reads them holds ForeignReading
  FenceLimits sampling;  ///< of one token under a grammar, and of what one answer's grammar keeps

  /// Of the stack that they may fill.
  static constexpr Bytes kStack{2ULL << 20};
};

/// Of a process with this budget for its memory: less where the budget is small.
[[nodiscard]] ForeignLimits foreign_limits_for(Bytes budget);

/// Of this process. Before set_foreign_limits(): those of a large budget. Threading: any.
[[nodiscard]] ForeignLimits foreign_limits();
void set_foreign_limits(Bytes budget);

/// For making tokens of one text of a client: llama.cpp takes up to 75 bytes for each byte, and looks through
/// all pieces of a text again for each control token in it. `tokens`: of the context. Before there is one,
/// unset: then it is what the budget can spare. Whoever plans a context reserves what this has beyond
/// ForeignLimits::reading.
[[nodiscard]] FenceLimits limits_of_text(std::optional<std::uint64_t> tokens);

/// The right to read a foreign text: one thread of the process has it at a time. Blocks until it is free,
/// which is no longer than the limits of the one who has it. A thread that has it may ask again.
class ForeignReading {
 public:
  ForeignReading();
  ~ForeignReading();
  ForeignReading(const ForeignReading&) = delete;
  ForeignReading& operator=(const ForeignReading&) = delete;
};

/// Reads a foreign text: `f` runs with the right to read, inside a fence. Errors: as fenced().
template <typename F>
[[nodiscard]] auto read_foreign(F&& f) {
  const ForeignReading right;
  return fenced(foreign_limits().reading, std::forward<F>(f));
}

}  // namespace strata::engine
