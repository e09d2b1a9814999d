#pragma once

#include <cstdint>
#include <string_view>

namespace brimful {

/// The 64-bit FNV-1a hash. It tells different contents apart. It gives no protection against somebody who
/// constructs two contents with the same value. The order of the bytes counts, not how they are divided into
/// calls of add().
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
