#pragma once

#include <cstdint>
#include <string_view>

namespace brimful {

/// FNV-1a with 64 bits: tells one content from another. It is no protection against somebody who looks for
/// two contents with the same value.
class Hash64 {
 public:
  void add(std::string_view bytes) {
    for (const char byte : bytes) add(byte);
  }
  void add(char byte) { value_ = (value_ ^ static_cast<unsigned char>(byte)) * 1099511628211ULL; }
  [[nodiscard]] std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 14695981039346656037ULL;
};

}  // namespace brimful
