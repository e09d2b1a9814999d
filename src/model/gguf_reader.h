#pragma once

#include <ggml.h>
#include <gguf.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

/// A parser for the header of the GGUF file format. It is a pure function over bytes, without I/O and
/// without ggml's parser, so it can be fuzzed by itself. Every header that this parser accepts can be given
/// to ggml's own parser without an abort, a read out of range or an absurd allocation. The parser does not
/// judge what the keys mean: see gguf_checks.h.
namespace brimful::model {

/// One key of a header. Its value stays in the header's bytes; GgufValues reads it.
struct GgufKeyValue {
  std::string key;
  /// The type of the value; for an array, the type of its elements. It is never GGUF_TYPE_ARRAY.
  gguf_type type = GGUF_TYPE_UINT8;
  bool is_array = false;
  /// The number of elements: 1 for a scalar.
  std::uint64_t count = 1;
  // The positions count bytes from the start of the header.
  std::uint64_t begin = 0;  ///< The first byte of the entry, which starts with the key.
  std::uint64_t value = 0;  ///< The first byte of the value; for an array, of its first element.
  std::uint64_t end = 0;    ///< The first byte after the entry.
};

/// One tensor of a header.
struct GgufTensor {
  std::string name;
  ggml_type type = GGML_TYPE_F32;
  /// The number of dimensions in the file, 1 to 4.
  std::uint32_t dimensions = 1;
  /// ggml's `ne`: shape[0] is the row length in elements. Dimensions that the file leaves out are 1.
  std::array<std::int64_t, 4> shape{1, 1, 1, 1};
  /// The position of the tensor's first byte, from the start of the file.
  std::uint64_t offset = 0;
  Bytes bytes;
};

struct GgufHeader {
  std::uint32_t version = 3;
  std::uint32_t alignment = 32;
  std::vector<GgufKeyValue> keys;
  /// The tensors, by increasing offset.
  std::vector<GgufTensor> tensors;
  /// The size of the header in bytes, padding included. The tensor data starts at this position.
  std::uint64_t size = 0;

  /// Returns the key called `key`, or null when the header does not have it. Lifetime: that of this header.
  [[nodiscard]] const GgufKeyValue* find(std::string_view key) const;
  /// The position at which the last tensor ends: a whole file has at least so many bytes.
  [[nodiscard]] std::uint64_t end() const;
};

/// The parser's answer when it was given too little of the file: it needs the first `bytes` bytes to go on.
/// That is never more than the file has.
struct NeedMore {
  std::uint64_t bytes = 0;
};

/// Whether a file must hold its tensors' data. A file that was cut off after its header is enough to plan
/// with, and cannot be run.
enum class Weights { kRequired, kMayBeMissing };

/// The parser refuses larger headers. The largest known headers are below 32 MiB.
inline constexpr Bytes kMaxHeader{256 * 1024 * 1024};

/// Parses the header of a GGUF file. `bytes` holds the beginning of the file, and `file_size` is the size of
/// the whole file in bytes. With kMayBeMissing, tensors may lie past the end of the file; all other checks
/// stay. Returns NeedMore when the header goes on after `bytes`; the caller then parses again with more of
/// the file.
/// Errors: kCorrupt, kUnsupported. Messages do not name the file. Lifetime: the result does not point into
/// `bytes`.
[[nodiscard]] Result<std::variant<GgufHeader, NeedMore>> parse_gguf(std::span<const std::byte> bytes,
                                                                    std::uint64_t file_size,
                                                                    Weights weights = Weights::kRequired);

/// Returns text from a file in a form for an error message: in single quotes, with visible symbols in place
/// of control characters and newlines, and cut after 80 bytes.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace brimful::model
