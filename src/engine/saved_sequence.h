#pragma once

#include <llama.h>

#include <string>
#include <utility>

#include "base/result.h"

namespace brimful::engine {

/// What a context remembers of one sequence (KV cache, recurrent state), put aside in a file without a name,
/// which goes with this object, or with the process: in TMPDIR, else in /var/tmp. Move-only.
class SavedSequence {
 public:
  /// Errors: kIo: the folder cannot be written to, has no room, or is memory itself.
  [[nodiscard]] static Result<SavedSequence> save(llama_context* context, llama_seq_id sequence = 0);
  SavedSequence(SavedSequence&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  SavedSequence& operator=(SavedSequence&& other) = delete;
  ~SavedSequence();

  /// Into a context of the same model that has room for it and holds nothing of `sequence`. Errors: kIo.
  [[nodiscard]] Status restore(llama_context* context, llama_seq_id sequence = 0) const;

 private:
  explicit SavedSequence(int file) : file_(file) {}
  [[nodiscard]] std::string path() const;

  int file_;
};

}  // namespace brimful::engine
