#pragma once

#include <llama.h>

#include <string>
#include <utility>

#include "base/result.h"

namespace brimful::engine {

/// The state of one sequence of a context (KV cache, recurrent state), saved in a file. The file has no name,
/// and vanishes with this object or with the process. It lies in TMPDIR, or in /var/tmp if that is not set.
/// Move-only.
class SavedSequence {
 public:
  /// Saves a sequence; the context keeps it. Errors: kIo when the folder cannot be written to, has no room,
  /// or is memory itself (tmpfs).
  [[nodiscard]] static Result<SavedSequence> save(llama_context* context, llama_seq_id sequence = 0);
  SavedSequence(SavedSequence&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  SavedSequence& operator=(SavedSequence&& other) = delete;
  ~SavedSequence();

  /// Loads the state into a context of the same model. Requires: the context has room for it, and holds
  /// nothing of `sequence`. Errors: kIo.
  [[nodiscard]] Status restore(llama_context* context, llama_seq_id sequence = 0) const;

 private:
  explicit SavedSequence(int file) : file_(file) {}
  [[nodiscard]] std::string path() const;

  int file_;
};

}  // namespace brimful::engine
