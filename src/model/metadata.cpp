#include "model/metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "base/check.h"
#include "model/gguf_values.h"
#include "model/header_file.h"

namespace brimful::model {
namespace {

/// Returns the double with the shortest text for a float: 0.1f becomes 0.1, and not 0.10000000149011612.
double shortest(float value) {
  const std::string text = fmt::format("{}", value);
  double result = 0;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

nlohmann::json number_value(const GgufValues& values, const GgufKeyValue& kv, std::uint64_t index) {
  switch (kv.type) {
    case GGUF_TYPE_UINT8: return values.number<std::uint8_t>(kv, index);
    case GGUF_TYPE_INT8: return values.number<std::int8_t>(kv, index);
    case GGUF_TYPE_UINT16: return values.number<std::uint16_t>(kv, index);
    case GGUF_TYPE_INT16: return values.number<std::int16_t>(kv, index);
    case GGUF_TYPE_UINT32: return values.number<std::uint32_t>(kv, index);
    case GGUF_TYPE_INT32: return values.number<std::int32_t>(kv, index);
    case GGUF_TYPE_FLOAT32: return shortest(values.number<float>(kv, index));
    case GGUF_TYPE_BOOL: return values.number<std::uint8_t>(kv, index) != 0;
    case GGUF_TYPE_UINT64: return values.number<std::uint64_t>(kv, index);
    case GGUF_TYPE_INT64: return values.number<std::int64_t>(kv, index);
    case GGUF_TYPE_FLOAT64: return values.number<double>(kv, index);
    default: return nullptr;
  }
}

nlohmann::json array_value(const GgufValues& values, const GgufKeyValue& kv, std::size_t max_elements) {
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(kv.count, max_elements));
  nlohmann::json array = nlohmann::json::array();
  if (kv.type == GGUF_TYPE_STRING) {
    const auto strings = values.strings(kv);
    for (std::size_t i = 0; i < count; ++i) array.push_back(strings[i]);
  } else {
    for (std::size_t i = 0; i < count; ++i) array.push_back(number_value(values, kv, i));
  }
  return array;
}

nlohmann::json value_of(const GgufValues& values, const GgufKeyValue& kv, std::size_t max_elements) {
  if (kv.is_array) return array_value(values, kv, max_elements);
  if (kv.type == GGUF_TYPE_STRING) return values.text(kv);
  return number_value(values, kv, 0);
}

}  // namespace

Result<std::vector<MetadataEntry>> read_metadata(const ModelProfile& profile, std::size_t max_elements) {
  BRIMFUL_CHECK(!profile.files.empty());
  BRIMFUL_TRY(const HeaderFile file, read_header(profile.files[0].path, profile.weights()));
  BRIMFUL_TRY_VOID(check_same_file(profile.files[0], file.file));
  const GgufValues values(file.header, file.bytes);
  std::vector<MetadataEntry> entries;
  for (const GgufKeyValue& kv : file.header.keys) {
    const char* type = gguf_type_name(kv.type);
    entries.push_back({.key = kv.key,
                       .type = kv.is_array ? fmt::format("arr[{}]", type) : type,
                       .count = kv.count,
                       .value = value_of(values, kv, max_elements)});
  }
  return entries;
}

}  // namespace brimful::model
