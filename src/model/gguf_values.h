#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/gguf_reader.h"

namespace brimful::model {

/// Typed reads of the values of a parsed header. Lifetime: the header and its bytes must outlive this and
/// everything it returned.
class GgufValues {
 public:
  GgufValues(const GgufHeader& header, std::span<const std::byte> bytes) : header_(header), bytes_(bytes) {}

  [[nodiscard]] const GgufHeader& header() const { return header_; }

  /// The value of a key; nothing where the key is missing. Errors: kCorrupt where it has another type.
  [[nodiscard]] Result<std::optional<std::uint32_t>> u32(std::string_view key) const;
  [[nodiscard]] Result<std::optional<float>> f32(std::string_view key) const;
  [[nodiscard]] Result<std::optional<bool>> boolean(std::string_view key) const;
  [[nodiscard]] Result<std::optional<std::string_view>> string(std::string_view key) const;

  /// Any integer type; negative numbers are an error. For the split.* keys, which writers store in several
  /// types.
  [[nodiscard]] Result<std::optional<std::uint64_t>> unsigned_integer(std::string_view key) const;

  /// One number per layer: an array of `layers` integers or one number for all of them. Empty where the key
  /// is missing. Errors: kCorrupt for another type, another length or a negative number.
  [[nodiscard]] Result<std::vector<std::uint32_t>> per_layer(std::string_view key, std::size_t layers) const;

  /// Elements of an array of strings. Requires: kv is one.
  [[nodiscard]] std::vector<std::string_view> strings(const GgufKeyValue& kv) const;

  /// Element `index` of a scalar or an array of numbers. Requires: kv.type is T's; index < kv.count.
  template <typename T>
  [[nodiscard]] T number(const GgufKeyValue& kv, std::uint64_t index = 0) const {
    T value;
    read(kv.value + index * sizeof(T), &value, sizeof(T));
    return value;
  }

  /// The text of a scalar string. Requires: kv is one.
  [[nodiscard]] std::string_view text(const GgufKeyValue& kv) const;

 private:
  void read(std::uint64_t offset, void* out, std::size_t size) const;
  [[nodiscard]] Result<const GgufKeyValue*> scalar(std::string_view key, gguf_type type) const;

  const GgufHeader& header_;
  std::span<const std::byte> bytes_;
};

}  // namespace brimful::model
