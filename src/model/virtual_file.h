#pragma once

#include <cstdio>
#include <memory>

#include "model/model_profile.h"

namespace brimful::model {

/// Closes a stdio stream.
struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using FilePtr = std::unique_ptr<std::FILE, FileCloser>;

/// Opens a read-only stream that holds only the model's header, and that looks like one whole GGUF file to
/// llama_model_load_from_file_ptr. The parts of a split model are merged. With this stream libllama loads a
/// model without reading a weight: the stream claims the size of the whole file, even when weights are
/// missing, and a seek to tensor data goes to the end of the file, where libllama finds nothing to read and
/// leaves the tensor's memory untouched. Tensor offsets in the stream are not those on disk: look tensors up
/// by name in the ModelProfile.
/// Requires: the load uses LLAMA_LOAD_MODE_NONE.
/// Errors: those of read_header; kIo when the files are no longer those of the profile.
/// Lifetime: the stream is independent of the profile. Holds: the header, until the stream is closed.
[[nodiscard]] Result<FilePtr> open_virtual_file(const ModelProfile& profile);

}  // namespace brimful::model
