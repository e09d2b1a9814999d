#include "model/gguf_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <type_traits>
#include <unordered_set>

#include "base/visible_text.h"
#include "model/foreign_file.h"

namespace brimful::model {
namespace {

static_assert(std::endian::native == std::endian::little, "the header is read in place");

// ggml compares every name with all others, so a million names would keep it busy for hours.
constexpr std::uint64_t kMaxEntries = 65536;
constexpr std::uint64_t kMaxKeyLength = 65535;
constexpr std::uint32_t kMaxAlignment = 1024 * 1024;
constexpr const char* kIncomplete = "the download is incomplete; fetch it again";

/// Reads forward through the bytes. After the first failure every read fails.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::uint64_t file_size, Weights weights)
      : bytes_(bytes), file_size_(file_size), weights_(weights) {}

  [[nodiscard]] std::uint64_t position() const { return position_; }
  [[nodiscard]] std::uint64_t left_in_file() const { return file_size_ - position_; }
  /// At most the first 512 bytes of the file.
  [[nodiscard]] std::span<const std::byte> beginning() const {
    return bytes_.first(std::min<std::size_t>(bytes_.size(), 512));
  }
  [[nodiscard]] bool must_be_whole() const { return weights_ == Weights::kRequired; }

  bool fail(ErrorCode code, std::string message) {
    if (!error_) error_ = Error{code, std::move(message)};
    return false;
  }
  bool corrupt(std::string message) { return fail(ErrorCode::kCorrupt, std::move(message)); }

  /// Makes sure that `count` more bytes are there. `what` is the part that the error message names when the
  /// file ends before.
  bool available(std::uint64_t count, std::string_view what) {
    if (error_ || need_ != 0) return false;
    const bool too_large = count > kMaxHeader.value - position_;
    if (count > left_in_file() && (must_be_whole() || !too_large)) return ends_inside(what, count);
    if (too_large) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("the header is larger than {}: this is not a model file, or a damaged one",
                              format_bytes(kMaxHeader)));
    }
    if (count > bytes_.size() - position_) need_ = position_ + count;
    return need_ == 0;
  }

  bool skip(std::uint64_t count, std::string_view what) {
    if (!available(count, what)) return false;
    position_ += count;
    return true;
  }

  template <typename T>
  requires std::is_trivially_copyable_v<T>
  bool read(T& out, std::string_view what) {
    if (!available(sizeof(T), what)) return false;
    std::memcpy(&out, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return true;
  }

  bool read_string(std::string_view& out, std::string_view what) {
    std::uint64_t length = 0;
    if (!read(length, what) || !available(length, what)) return false;
    out = {reinterpret_cast<const char*>(bytes_.data()) + position_, static_cast<std::size_t>(length)};
    position_ += length;
    return true;
  }

  [[nodiscard]] Error error() const { return error_.value_or(Error{}); }
  [[nodiscard]] std::optional<NeedMore> need() const {
    if (error_ || need_ == 0) return std::nullopt;
    return NeedMore{need_};
  }

 private:
  bool ends_inside(std::string_view what, std::uint64_t count) {
    const std::string where =
        fmt::format("the file ends inside {}, at byte {} of {}", what, position_, file_size_);
    if (must_be_whole()) return corrupt(fmt::format("{}: {}", where, kIncomplete));
    return corrupt(fmt::format("{}: the header goes on for at least {} more bytes: fetch them too", where,
                               count - left_in_file()));
  }

  std::span<const std::byte> bytes_;
  std::uint64_t file_size_;
  Weights weights_;
  std::uint64_t position_ = 0;  // At most kMaxHeader.
  std::uint64_t need_ = 0;
  std::optional<Error> error_;
};

/// The size of one element in bytes; 0 for strings and arrays.
std::uint64_t element_size(gguf_type type) {
  switch (type) {
    case GGUF_TYPE_UINT8:
    case GGUF_TYPE_INT8:
    case GGUF_TYPE_BOOL: return 1;
    case GGUF_TYPE_UINT16:
    case GGUF_TYPE_INT16: return 2;
    case GGUF_TYPE_UINT32:
    case GGUF_TYPE_INT32:
    case GGUF_TYPE_FLOAT32: return 4;
    case GGUF_TYPE_UINT64:
    case GGUF_TYPE_INT64:
    case GGUF_TYPE_FLOAT64: return 8;
    default: return 0;
  }
}

struct Counts {
  std::uint64_t tensors = 0;
  std::uint64_t keys = 0;
};

bool read_version(Cursor& in, GgufHeader& header) {
  std::array<char, 4> magic{};
  if (!in.read(magic, "the magic bytes")) return false;
  if (std::string_view(magic.data(), 4) != "GGUF") {
    const std::string_view kind = foreign_file(in.beginning());
    if (!kind.empty()) return in.corrupt(std::string(kind));
    return in.corrupt(fmt::format("starts with {} instead of 'GGUF': this is not a GGUF model",
                                  in_quotes({magic.data(), magic.size()})));
  }
  if (!in.read(header.version, "the version")) return false;
  if (header.version != 0 && (header.version & 0xFFFF) == 0) {
    return in.fail(
        ErrorCode::kUnsupported,
        "is a big-endian GGUF file: fetch the little-endian one, or convert it with gguf_convert_endian.py");
  }
  if (header.version >= 2 && header.version <= 3) return true;
  const char* advice = header.version == 0 || header.version > 100 ? "the file is damaged"
                       : header.version == 1                       ? "convert the model again"
                                                                   : "update brimful";
  return in.fail(
      ErrorCode::kUnsupported,
      fmt::format("is GGUF version {}; versions 2 and 3 are supported: {}", header.version, advice));
}

bool read_count(Cursor& in, std::uint64_t& count, std::uint64_t smallest_entry, std::string_view what) {
  if (!in.read(count, "the counts")) return false;
  if (count > in.left_in_file() / smallest_entry && in.must_be_whole()) {
    return in.corrupt(fmt::format("claims {} {}, more than its {} bytes can hold: the file is damaged", count,
                                  what, in.position() + in.left_in_file()));
  }
  if (count > kMaxEntries) {
    return in.fail(ErrorCode::kUnsupported,
                   fmt::format("claims {} {}; at most {} are supported", count, what, kMaxEntries));
  }
  return true;
}

bool read_preamble(Cursor& in, GgufHeader& header, Counts& counts) {
  constexpr std::uint64_t kSmallestTensor = 8 + 1 + 4 + 8 + 4 + 8;
  constexpr std::uint64_t kSmallestKey = 8 + 1 + 4 + 1;
  return read_version(in, header) && read_count(in, counts.tensors, kSmallestTensor, "tensors") &&
         read_count(in, counts.keys, kSmallestKey, "keys");
}

bool read_type(Cursor& in, GgufKeyValue& kv) {
  std::int32_t type = 0;
  const std::string what = "key " + in_quotes(kv.key);
  if (!in.read(type, what)) return false;
  if (type == GGUF_TYPE_ARRAY) {
    kv.is_array = true;
    if (!in.read(type, what) || !in.read(kv.count, what)) return false;
    if (type == GGUF_TYPE_ARRAY) {
      return in.fail(ErrorCode::kUnsupported, fmt::format("{} holds an array of arrays", what));
    }
  }
  if (type < 0 || type >= GGUF_TYPE_COUNT) {
    return in.corrupt(
        fmt::format("{} has unknown type {}: the file is damaged or newer than brimful", what, type));
  }
  kv.type = static_cast<gguf_type>(type);
  return true;
}

bool skip_value(Cursor& in, const GgufKeyValue& kv) {
  const std::string what = "key " + in_quotes(kv.key);
  const std::uint64_t size = kv.type == GGUF_TYPE_STRING ? sizeof(std::uint64_t) : element_size(kv.type);
  if (kv.count > in.left_in_file() / size) {
    std::uint64_t bytes = 0;
    if (__builtin_mul_overflow(kv.count, size, &bytes)) bytes = UINT64_MAX;
    // This fails, with a message that says how much is missing.
    if (!in.must_be_whole()) return in.skip(bytes, what);
    return in.corrupt(fmt::format("{} claims {} elements, more than are left in the file: {}", what, kv.count,
                                  kIncomplete));
  }
  if (kv.type != GGUF_TYPE_STRING) return in.skip(kv.count * size, what);
  std::string_view text;
  for (std::uint64_t i = 0; i < kv.count; ++i) {
    if (!in.read_string(text, what)) return false;
  }
  return true;
}

bool read_key(Cursor& in, GgufKeyValue& kv) {
  kv.begin = in.position();
  std::string_view key;
  if (!in.read_string(key, "a key")) return false;
  if (key.empty() || key.size() > kMaxKeyLength || key.contains('\0')) {
    return in.corrupt(fmt::format("has a key that is empty, too long or not text ({}): the file is damaged",
                                  in_quotes(key)));
  }
  kv.key = key;
  if (!read_type(in, kv)) return false;
  kv.value = in.position();
  if (!skip_value(in, kv)) return false;
  kv.end = in.position();
  return true;
}

bool read_keys(Cursor& in, GgufHeader& header, std::uint64_t count) {
  header.keys.reserve(static_cast<std::size_t>(count));
  std::unordered_set<std::string> seen;
  for (std::uint64_t i = 0; i < count; ++i) {
    GgufKeyValue kv;
    if (!read_key(in, kv)) return false;
    if (!seen.insert(kv.key).second) {
      return in.corrupt(fmt::format("has key {} twice: the file is damaged", in_quotes(kv.key)));
    }
    header.keys.push_back(std::move(kv));
  }
  return true;
}

bool read_alignment(Cursor& in, std::span<const std::byte> bytes, GgufHeader& header) {
  const GgufKeyValue* kv = header.find("general.alignment");
  if (kv == nullptr) return true;
  if (kv->is_array || kv->type != GGUF_TYPE_UINT32) {
    return in.corrupt("general.alignment is not a 32-bit unsigned number: the file is damaged");
  }
  std::memcpy(&header.alignment, bytes.data() + kv->value, sizeof(header.alignment));
  if (!std::has_single_bit(header.alignment) || header.alignment > kMaxAlignment) {
    return in.corrupt(fmt::format("general.alignment is {}, not a power of two up to {}: the file is damaged",
                                  header.alignment, kMaxAlignment));
  }
  return true;
}

bool read_shape(Cursor& in, GgufTensor& tensor, const std::string& what) {
  if (!in.read(tensor.dimensions, what)) return false;
  if (tensor.dimensions < 1 || tensor.dimensions > 4) {
    return in.corrupt(
        fmt::format("{} has {} dimensions, not 1 to 4: the file is damaged", what, tensor.dimensions));
  }
  for (std::size_t i = 0; i < tensor.dimensions; ++i) {
    if (!in.read(tensor.shape[i], what)) return false;
    if (tensor.shape[i] <= 0) {
      return in.corrupt(
          fmt::format("{} has a dimension of {} elements: the file is damaged", what, tensor.shape[i]));
    }
  }
  std::int64_t elements = tensor.shape[0];
  for (std::size_t i = 1; i < tensor.shape.size(); ++i) {
    if (INT64_MAX / tensor.shape[i] <=
        elements) {  // This is ggml's own bound, a little below the largest number.
      return in.corrupt(fmt::format("{} has more elements than can be counted: the file is damaged", what));
    }
    elements *= tensor.shape[i];
  }
  return true;
}

/// Returns whether a file may hold the type. Q8_1 and Q8_K exist only in memory, and no kernel multiplies by
/// them.
bool is_stored_type(std::int32_t type) {
  if (type < 0 || type >= GGML_TYPE_COUNT || type == GGML_TYPE_Q8_1 || type == GGML_TYPE_Q8_K) return false;
  return ggml_blck_size(static_cast<ggml_type>(type)) > 0 && ggml_type_size(static_cast<ggml_type>(type)) > 0;
}

bool read_tensor_type(Cursor& in, GgufTensor& tensor, const std::string& what) {
  std::int32_t type = 0;
  if (!in.read(type, what)) return false;
  if (!is_stored_type(type)) {
    return in.fail(
        ErrorCode::kUnsupported,
        fmt::format(
            "{} has type {}, which this build does not know: update brimful, or quantise the model again",
            what, type));
  }
  tensor.type = static_cast<ggml_type>(type);
  const std::int64_t block = ggml_blck_size(tensor.type);
  if (tensor.shape[0] % block != 0) {
    return in.corrupt(
        fmt::format("{} has rows of {} elements, not a multiple of the {} of a {} block: the file is damaged",
                    what, tensor.shape[0], block, ggml_type_name(tensor.type)));
  }
  const auto rows = static_cast<std::uint64_t>(tensor.shape[1] * tensor.shape[2] * tensor.shape[3]);
  // ggml_row_size multiplies before it divides, so that product must fit as well.
  std::uint64_t row = 0;
  bool fits =
      !__builtin_mul_overflow(static_cast<std::uint64_t>(tensor.shape[0]), ggml_type_size(tensor.type), &row);
  row /= static_cast<std::uint64_t>(block);
  std::uint64_t bytes = 0;
  fits = fits && !__builtin_mul_overflow(row, rows, &bytes) && bytes <= INT64_MAX;
  if (!fits)
    return in.corrupt(fmt::format("{} has more bytes than can be counted: the file is damaged", what));
  tensor.bytes = Bytes{bytes};
  return true;
}

bool read_tensor(Cursor& in, GgufTensor& tensor) {
  std::string_view name;
  if (!in.read_string(name, "a tensor's name")) return false;
  if (name.empty() || name.size() >= GGML_MAX_NAME || name.contains('\0')) {
    return in.corrupt(fmt::format(
        "has a tensor name that is empty, longer than {} bytes or not text ({}): the file is damaged",
        GGML_MAX_NAME - 1, in_quotes(name)));
  }
  tensor.name = name;
  const std::string what = "tensor " + in_quotes(name);
  return read_shape(in, tensor, what) && read_tensor_type(in, tensor, what) && in.read(tensor.offset, what);
}

bool read_tensors(Cursor& in, GgufHeader& header, std::uint64_t count) {
  header.tensors.reserve(static_cast<std::size_t>(count));
  std::unordered_set<std::string> seen;
  for (std::uint64_t i = 0; i < count; ++i) {
    GgufTensor tensor;
    if (!read_tensor(in, tensor)) return false;
    if (!seen.insert(tensor.name).second) {
      return in.corrupt(fmt::format("has tensor {} twice: the file is damaged", in_quotes(tensor.name)));
    }
    header.tensors.push_back(std::move(tensor));
  }
  return true;
}

/// Turns offsets from the start of the data into offsets from the start of the file. ggml allows only one
/// layout: each tensor follows the one before it, padded to the alignment.
bool place_tensors(Cursor& in, GgufHeader& header, std::uint64_t file_size) {
  header.size = in.position();
  if (header.tensors.empty()) return true;
  header.size = align_up(header.size, header.alignment);
  std::uint64_t expected = 0;
  for (GgufTensor& tensor : header.tensors) {
    if (tensor.offset != expected) {
      return in.corrupt(
          fmt::format("tensor {} starts at byte {} of the data instead of {}: the file is damaged",
                      in_quotes(tensor.name), tensor.offset, expected));
    }
    std::uint64_t end = 0;
    if (__builtin_add_overflow(header.size + expected, tensor.bytes.value, &end) || end > INT64_MAX) {
      return in.corrupt(
          fmt::format("tensor {} ends beyond any file: the file is damaged", in_quotes(tensor.name)));
    }
    if (end > file_size && in.must_be_whole()) {
      if (file_size <= header.size) {
        return in.corrupt(
            "holds no weights, only a header: fetch the whole file (brimful plan takes a header alone)");
      }
      return in.corrupt(fmt::format("tensor {} ends {} bytes past the end of the file: {}",
                                    in_quotes(tensor.name), end - file_size, kIncomplete));
    }
    tensor.offset = header.size + expected;
    expected = align_up(expected + tensor.bytes.value, header.alignment);
  }
  return true;
}

}  // namespace

const GgufKeyValue* GgufHeader::find(std::string_view key) const {
  const auto it = std::ranges::find(keys, key, &GgufKeyValue::key);
  return it == keys.end() ? nullptr : &*it;
}

std::uint64_t GgufHeader::end() const {
  return tensors.empty() ? size : tensors.back().offset + tensors.back().bytes.value;
}

Result<std::variant<GgufHeader, NeedMore>> parse_gguf(std::span<const std::byte> bytes,
                                                      std::uint64_t file_size, Weights weights) {
  if (file_size == 0) return fail(ErrorCode::kCorrupt, fmt::format("the file is empty: {}", kIncomplete));
  if (file_size > INT64_MAX) return fail(ErrorCode::kCorrupt, "the file is larger than a file can be");
  bytes = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), file_size)));
  Cursor in(bytes, file_size, weights);
  GgufHeader header;
  Counts counts;
  const bool parsed = read_preamble(in, header, counts) && read_keys(in, header, counts.keys) &&
                      read_alignment(in, bytes, header) && read_tensors(in, header, counts.tensors) &&
                      place_tensors(in, header, file_size);
  if (parsed) return header;
  if (const auto need = in.need()) return *need;
  return std::unexpected(in.error());
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kLongest = 80;
  return fmt::format("'{}{}'", visible_text(text.substr(0, kLongest)), text.size() > kLongest ? "..." : "");
}

}  // namespace brimful::model
