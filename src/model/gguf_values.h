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

/// Typed access to the values of a parsed header.
/// Lifetime: the header and its bytes must outlive this object and everything that it returns.
/// Threading: any number of threads may read at the same time.
class GgufValues {
 public:
  GgufValues(const GgufHeader& header, std::span<const std::byte> bytes) : header_(header), bytes_(bytes) {}

  [[nodiscard]] const GgufHeader& header() const { return header_; }

  // These functions return the value of a scalar key, or nullopt when the key is missing.
  // Errors: kCorrupt when the key has another type.
  [[nodiscard]] Result<std::optional<std::uint32_t>> u32(std::string_view key) const;
  [[nodiscard]] Result<std::optional<float>> f32(std::string_view key) const;
  [[nodiscard]] Result<std::optional<bool>> boolean(std::string_view key) const;
  [[nodiscard]] Result<std::optional<std::string_view>> string(std::string_view key) const;

  /// The value of a key of any integer type, or nullopt when the key is missing. It is for the split.* keys,
  /// which writers store in several types.
  /// Errors: kCorrupt when the key has another type or the number is negative.
  [[nodiscard]] Result<std::optional<std::uint64_t>> unsigned_integer(std::string_view key) const;

  /// One number for each of `layers` layers. The key holds an array of `layers` integers, or one integer for
  /// all layers. The result is empty when the key is missing.
  /// Errors: kCorrupt for another type, another length, a negative number, or one of more than 32 bits.
  [[nodiscard]] Result<std::vector<std::uint32_t>> per_layer(std::string_view key, std::size_t layers) const;

  /// The elements of an array of strings. Requires: `kv` is an array of strings, or one string.
  [[nodiscard]] std::vector<std::string_view> strings(const GgufKeyValue& kv) const;

  /// Element `index` of an array of numbers, or the number of a scalar. Requires: kv.type is the GGUF type
  /// of T; index < kv.count.
  template <typename T>
  [[nodiscard]] T number(const GgufKeyValue& kv, std::uint64_t index = 0) const {
    T value;
    read(kv.value + index * sizeof(T), &value, sizeof(T));
    return value;
  }

  /// The text of a scalar string. Requires: `kv` is a scalar string.
  [[nodiscard]] std::string_view text(const GgufKeyValue& kv) const;

 private:
  void read(std::uint64_t offset, void* out, std::size_t size) const;
  [[nodiscard]] Result<const GgufKeyValue*> scalar(std::string_view key, gguf_type type) const;

  const GgufHeader& header_;
  std::span<const std::byte> bytes_;
};

}  // namespace brimful::model
