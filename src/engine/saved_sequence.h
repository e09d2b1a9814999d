#pragma once

#include <llama.h>

#include <filesystem>
#include <utility>

#include "base/result.h"

namespace strata::engine {

/// What a context remembers of one sequence (KV cache, recurrent state), put aside in a file that goes with
/// this object: in the folder for temporary files, named after the process. Move-only.
class SavedSequence {
 public:
  /// Errors: kIo: the folder cannot be written to, or has no room.
  [[nodiscard]] static Result<SavedSequence> save(llama_context* context, llama_seq_id sequence = 0);
  SavedSequence(SavedSequence&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  SavedSequence& operator=(SavedSequence&& other) = delete;
  ~SavedSequence();

  /// Into a context of the same model that has room for it and holds nothing of `sequence`. Errors: kIo.
  [[nodiscard]] Status restore(llama_context* context, llama_seq_id sequence = 0) const;

 private:
  explicit SavedSequence(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace strata::engine
