#pragma once

#include <cstdio>
#include <memory>

#include "model/model_profile.h"

namespace brimful::model {

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using FilePtr = std::unique_ptr<std::FILE, FileCloser>;

/// A read-only stream that looks like one whole GGUF file (splits merged) to
/// llama_model_load_from_file_ptr, and holds only its header. Its size is that of the whole file, even where
/// weights are missing; a seek to
/// tensor data lands at the end of the file, where libllama finds nothing left to read and leaves the
/// tensor's memory untouched. This is how libllama loads a model without reading a weight. Requires of the
/// load: LLAMA_LOAD_MODE_NONE. Tensor offsets in this file are not those on disk: take places from the
/// ModelProfile, by name. Errors: those of read_model; kIo where the files are no longer those of the
/// profile. Lifetime: independent of the profile.
[[nodiscard]] Result<FilePtr> open_virtual_file(const ModelProfile& profile);

}  // namespace brimful::model
