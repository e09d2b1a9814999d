#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "synth/tensors.h"
#include "synth/tokenizer.h"

namespace brimful::synth {

/// One GGUF file of a made-up model: its header as it will be on disk, and the places of its tensors.
struct SynthFile {
  /// The place of one tensor.
  struct Placed {
    /// The tensor, as an index into the model's tensors.
    std::size_t tensor = 0;
    /// The position of its first byte, from the start of the file.
    std::uint64_t offset = 0;
    Bytes bytes;
  };

  /// The header, padded to the alignment.
  std::vector<std::byte> header;
  /// The tensors by increasing offset.
  std::vector<Placed> tensors;
  /// The size of the whole file: header, tensors and padding.
  Bytes size;
};

/// Distributes the tensors over `splits` files of about equal size. The first file has all of `keys`; when
/// there are several files, each has the split keys that gguf-split writes. Pure.
/// Requires: `alignment` is a power of two; 1 <= splits <= tensors.size().
[[nodiscard]] std::vector<SynthFile> lay_out_files(const gguf_context* keys,
                                                   std::span<const SynthTensor> tensors,
                                                   std::uint32_t alignment, std::uint32_t splits);

}  // namespace brimful::synth
