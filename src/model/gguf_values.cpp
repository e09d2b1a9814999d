#include "model/gguf_values.h"

#include <fmt/format.h>

#include <cstring>
#include <limits>

#include "base/check.h"

namespace brimful::model {
namespace {

std::unexpected<Error> wrong_type(std::string_view key, std::string_view expected) {
  return fail(ErrorCode::kCorrupt,
              fmt::format("{} is not {}: the file is damaged, or its converter was broken", in_quotes(key),
                          expected));
}

/// Returns an integer as a signed 64-bit number; nullopt for other types, and for numbers that do not fit.
std::optional<std::int64_t> integer(const GgufValues& values, const GgufKeyValue& kv, std::uint64_t index) {
  switch (kv.type) {
    case GGUF_TYPE_UINT8:
    case GGUF_TYPE_BOOL: return values.number<std::uint8_t>(kv, index);
    case GGUF_TYPE_INT8: return values.number<std::int8_t>(kv, index);
    case GGUF_TYPE_UINT16: return values.number<std::uint16_t>(kv, index);
    case GGUF_TYPE_INT16: return values.number<std::int16_t>(kv, index);
    case GGUF_TYPE_UINT32: return values.number<std::uint32_t>(kv, index);
    case GGUF_TYPE_INT32: return values.number<std::int32_t>(kv, index);
    case GGUF_TYPE_INT64: return values.number<std::int64_t>(kv, index);
    case GGUF_TYPE_UINT64: {
      const auto value = values.number<std::uint64_t>(kv, index);
      if (value > INT64_MAX) return std::nullopt;
      return static_cast<std::int64_t>(value);
    }
    default: return std::nullopt;
  }
}

}  // namespace

void GgufValues::read(std::uint64_t offset, void* out, std::size_t size) const {
  BRIMFUL_CHECK(offset <= bytes_.size() && size <= bytes_.size() - offset);
  std::memcpy(out, bytes_.data() + offset, size);
}

Result<const GgufKeyValue*> GgufValues::scalar(std::string_view key, gguf_type type) const {
  const GgufKeyValue* kv = header_.find(key);
  if (kv != nullptr && (kv->is_array || kv->type != type)) return wrong_type(key, gguf_type_name(type));
  return kv;
}

Result<std::optional<std::uint32_t>> GgufValues::u32(std::string_view key) const {
  BRIMFUL_TRY(const GgufKeyValue* kv, scalar(key, GGUF_TYPE_UINT32));
  return kv == nullptr ? std::nullopt : std::optional(number<std::uint32_t>(*kv));
}

Result<std::optional<float>> GgufValues::f32(std::string_view key) const {
  BRIMFUL_TRY(const GgufKeyValue* kv, scalar(key, GGUF_TYPE_FLOAT32));
  return kv == nullptr ? std::nullopt : std::optional(number<float>(*kv));
}

Result<std::optional<bool>> GgufValues::boolean(std::string_view key) const {
  BRIMFUL_TRY(const GgufKeyValue* kv, scalar(key, GGUF_TYPE_BOOL));
  return kv == nullptr ? std::nullopt : std::optional(number<std::uint8_t>(*kv) != 0);
}

Result<std::optional<std::string_view>> GgufValues::string(std::string_view key) const {
  BRIMFUL_TRY(const GgufKeyValue* kv, scalar(key, GGUF_TYPE_STRING));
  return kv == nullptr ? std::nullopt : std::optional(text(*kv));
}

Result<std::optional<std::uint64_t>> GgufValues::unsigned_integer(std::string_view key) const {
  const GgufKeyValue* kv = header_.find(key);
  if (kv == nullptr) return std::nullopt;
  const auto value = kv->is_array ? std::nullopt : integer(*this, *kv, 0);
  if (!value || *value < 0) return wrong_type(key, "a whole number");
  return static_cast<std::uint64_t>(*value);
}

Result<std::vector<std::uint32_t>> GgufValues::per_layer(std::string_view key, std::size_t layers) const {
  const GgufKeyValue* kv = header_.find(key);
  if (kv == nullptr) return std::vector<std::uint32_t>{};
  if (kv->is_array && kv->count != layers) {
    return fail(ErrorCode::kCorrupt, fmt::format("{} has {} elements for {} layers: the file is damaged",
                                                 in_quotes(key), kv->count, layers));
  }
  std::vector<std::uint32_t> result(layers);
  for (std::size_t i = 0; i < layers; ++i) {
    const auto value = integer(*this, *kv, kv->is_array ? i : 0);
    if (!value || *value < 0 || *value > std::numeric_limits<std::uint32_t>::max()) {
      return wrong_type(key, "a number of 32 bits, or one for each layer");
    }
    result[i] = static_cast<std::uint32_t>(*value);
  }
  return result;
}

std::vector<std::string_view> GgufValues::strings(const GgufKeyValue& kv) const {
  BRIMFUL_CHECK(kv.type == GGUF_TYPE_STRING);
  std::vector<std::string_view> result;
  result.reserve(static_cast<std::size_t>(kv.count));
  std::uint64_t position = kv.value;
  for (std::uint64_t i = 0; i < kv.count; ++i) {
    std::uint64_t length = 0;
    read(position, &length, sizeof(length));
    position += sizeof(length);
    BRIMFUL_CHECK(position <= bytes_.size() && length <= bytes_.size() - position);
    result.emplace_back(reinterpret_cast<const char*>(bytes_.data()) + position,
                        static_cast<std::size_t>(length));
    position += length;
  }
  return result;
}

std::string_view GgufValues::text(const GgufKeyValue& kv) const { return strings(kv).front(); }

}  // namespace brimful::model
