#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "synth/tensors.h"
#include "synth/tokenizer.h"

namespace brimful::synth {

/// One GGUF file of the model: its header as it will be on disk, and where its tensors go.
struct SynthFile {
  struct Placed {
    std::size_t tensor = 0;    ///< index into the model's tensors
    std::uint64_t offset = 0;  ///< from the start of the file
    Bytes bytes;
  };

  std::vector<std::byte> header;  ///< padded to the alignment
  std::vector<Placed> tensors;    ///< by rising offset
  Bytes size;                     ///< of the file: header, tensors and padding
};

/// Lays the tensors out over `splits` files of about equal size. The first file has all of `keys`; with
/// more than one, each has the split keys that gguf-split writes.
/// Requires: `alignment` is a power of two; 1 <= splits <= tensors.size().
[[nodiscard]] std::vector<SynthFile> lay_out_files(const gguf_context* keys,
                                                   std::span<const SynthTensor> tensors,
                                                   std::uint32_t alignment, std::uint32_t splits);

}  // namespace brimful::synth
