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

/// The GGUF file format, as far as its header goes. A pure function over bytes: no I/O, no ggml parser, so it
/// can be fuzzed by itself. What it accepts, ggml's own parser accepts without an abort, a read out of range
/// or a wild allocation. What the keys mean is not looked at here: see gguf_checks.h.
namespace brimful::model {

/// One key of a header. Its value stays in the header's bytes: read it through GgufValues.
struct GgufKeyValue {
  std::string key;
  gguf_type type = GGUF_TYPE_UINT8;  ///< of the value, or of each element of an array; never ARRAY
  bool is_array = false;
  std::uint64_t count = 1;  ///< elements
  std::uint64_t begin = 0;  ///< first byte of the entry, which starts with the key
  std::uint64_t value = 0;  ///< first byte of the value; an array's first element
  std::uint64_t end = 0;    ///< one past the entry
};

struct GgufTensor {
  std::string name;
  ggml_type type = GGML_TYPE_F32;
  std::uint32_t dimensions = 1;
  std::array<std::int64_t, 4> shape{1, 1, 1, 1};
  std::uint64_t offset = 0;  ///< first byte, from the start of the file
  Bytes bytes;
};

struct GgufHeader {
  std::uint32_t version = 3;
  std::uint32_t alignment = 32;
  std::vector<GgufKeyValue> keys;
  std::vector<GgufTensor> tensors;  ///< in the order of their offsets
  std::uint64_t size = 0;           ///< bytes of the header, padding included: where the tensor data starts

  [[nodiscard]] const GgufKeyValue* find(std::string_view key) const;
  /// Where the last tensor ends: the least size of the whole file.
  [[nodiscard]] std::uint64_t end() const;
};

/// The first `bytes` bytes of the file are needed to go on; never more than the file has.
struct NeedMore {
  std::uint64_t bytes = 0;
};

/// Whether a file must hold its tensors' data. What is cut off after the header can still be planned with.
enum class Weights { kRequired, kMayBeMissing };

/// Headers larger than this are refused: the largest known are below 32 MiB.
inline constexpr Bytes kMaxHeader{256 * 1024 * 1024};

/// Parses the header of a GGUF file of `file_size` bytes that starts with `bytes`.
/// With kMayBeMissing, tensors may lie past the end of the file; nothing else is let through.
/// Errors: kCorrupt, kUnsupported. Messages do not name the file.
[[nodiscard]] Result<std::variant<GgufHeader, NeedMore>> parse_gguf(std::span<const std::byte> bytes,
                                                                    std::uint64_t file_size,
                                                                    Weights weights = Weights::kRequired);

/// Text from a file, fit for a terminal and for one line: quoted, control bytes replaced, shortened.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace brimful::model
