#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "model/gguf_values.h"

namespace brimful::model {

/// The largest number of layers that the pinned llama.cpp supports: its LLAMA_MAX_LAYERS.
inline constexpr std::uint32_t kMaxLayers = 512;

/// Returns the error kCorrupt for a header whose values contradict themselves.
inline std::unexpected<Error> implausible(std::string message) {
  return fail(ErrorCode::kCorrupt, std::move(message) + ": the file is damaged, or its converter was broken");
}

/// Access to the hyper-parameters of one architecture. `key` is always a key without its prefix `<arch>.`; a
/// missing key and errors are as in GgufValues.
/// Lifetime: `values` and the text of `architecture` must outlive this object.
class Hyper {
 public:
  Hyper(const GgufValues& values, std::string_view architecture) : values_(values), name_(architecture) {}

  [[nodiscard]] std::string_view name() const { return name_; }
  /// The key with its prefix.
  [[nodiscard]] std::string full(std::string_view key) const { return fmt::format("{}.{}", name_, key); }
  [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }
  [[nodiscard]] Result<std::optional<std::uint32_t>> u32(std::string_view key) const {
    return values_.u32(full(key));
  }
  [[nodiscard]] Result<std::uint32_t> u32_or(std::string_view key, std::uint32_t missing) const {
    BRIMFUL_TRY(const auto value, u32(key));
    return value.value_or(missing);
  }
  [[nodiscard]] Result<std::vector<std::uint32_t>> per_layer(std::string_view key, std::size_t layers) const {
    return values_.per_layer(full(key), layers);
  }

  [[nodiscard]] const GgufKeyValue* find(std::string_view key) const {
    return values_.header().find(full(key));
  }
  [[nodiscard]] const GgufValues& values() const { return values_; }

 private:
  const GgufValues& values_;
  std::string_view name_;
};

/// Checks the heads of the attention layers: their numbers, lengths, RoPE and sliding windows. `layers` is
/// the value of block_count.
/// Errors: kCorrupt.
[[nodiscard]] Status check_attention(const Hyper& hyper, std::uint32_t layers);

}  // namespace brimful::model
