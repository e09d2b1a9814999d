#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace brimful::hardware {

/// Reads the fields of an object that came from outside, and remembers the first thing that is wrong with
/// them: a reader takes all it needs, and asks once. What is wrong reads as some valid value.
/// The object and `problem` outlive this and its parts.
class Fields {
 public:
  /// `path` is how the object is called in messages: `compute.kernels[3]`, or empty for the outermost.
  Fields(const nlohmann::json& object, std::string path, std::string& problem);

  [[nodiscard]] bool has(std::string_view key) const;
  [[nodiscard]] const std::string& path() const { return path_; }

  [[nodiscard]] std::string text(std::string_view key);
  [[nodiscard]] std::vector<std::string> texts(std::string_view key);
  [[nodiscard]] bool flag(std::string_view key);
  [[nodiscard]] std::uint32_t count(std::string_view key);  ///< from 1
  [[nodiscard]] Bytes bytes(std::string_view key);          ///< a number, or as people write it; at most 2^60
  [[nodiscard]] double rate(std::string_view key);          ///< per second: from 1 to 1e18
  [[nodiscard]] double seconds(std::string_view key);       ///< from 0 to 1000
  [[nodiscard]] double share(std::string_view key);         ///< above 0, at most 1
  [[nodiscard]] Fields part(std::string_view key);
  [[nodiscard]] std::vector<Fields> list(std::string_view key);

  /// `fields.maybe("kind", &Fields::text)`: nothing where the field is absent or null.
  template <typename T>
  [[nodiscard]] std::optional<T> maybe(std::string_view key, T (Fields::*read)(std::string_view)) {
    if (!has(key)) return std::nullopt;
    return (this->*read)(key);
  }

  /// Something is wrong with a field, beyond its own type: `what` follows its name.
  void refuse(std::string_view key, std::string_view what);

 private:
  const nlohmann::json* find(std::string_view key);
  double number(std::string_view key, double smallest, double largest, std::string_view what);
  [[nodiscard]] std::string name_of(std::string_view key) const;

  const nlohmann::json* object_;
  std::string path_;
  std::string* problem_;
};

}  // namespace brimful::hardware
