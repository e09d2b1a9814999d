#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace brimful::hardware {

/// Reads the fields of a JSON object that came from outside. The first problem, such as a missing field or a
/// wrong type, is written to `problem`; later ones are dropped. So a caller reads all fields, and then looks
/// once whether `problem` is still empty. A field that is wrong or missing reads as some valid value.
/// Lifetime: the object and `problem` outlive this and everything that part() and list() return.
class Fields {
 public:
  /// `path` is the name of the object in messages, such as `compute.kernels[3]`; it is empty for the
  /// outermost one.
  Fields(const nlohmann::json& object, std::string path, std::string& problem);

  /// Whether the field is there and not null.
  [[nodiscard]] bool has(std::string_view key) const;
  [[nodiscard]] const std::string& path() const { return path_; }

  [[nodiscard]] std::string text(std::string_view key);
  [[nodiscard]] std::vector<std::string> texts(std::string_view key);
  [[nodiscard]] bool flag(std::string_view key);
  /// A whole number from 1 to 2^31 - 1.
  [[nodiscard]] std::uint32_t count(std::string_view key);
  /// A number of bytes, at most 2^60: a JSON number, or a text as people write it, such as `6 GiB`.
  [[nodiscard]] Bytes bytes(std::string_view key);
  /// A rate per second, from 1 to 1e18.
  [[nodiscard]] double rate(std::string_view key);
  /// A time in seconds, from 0 to 1000.
  [[nodiscard]] double seconds(std::string_view key);
  /// A number of processors that were busy, from 0 to 1e6; may be a fraction.
  [[nodiscard]] double processors(std::string_view key);
  /// A share above 0 and at most 1.
  [[nodiscard]] double share(std::string_view key);
  /// A field that is an object itself.
  [[nodiscard]] Fields part(std::string_view key);
  /// A field that is a list of objects.
  [[nodiscard]] std::vector<Fields> list(std::string_view key);

  /// Reads a field that may be missing: `fields.maybe("kind", &Fields::text)`. Returns nullopt when the
  /// field is missing or null.
  template <typename T>
  [[nodiscard]] std::optional<T> maybe(std::string_view key, T (Fields::*read)(std::string_view)) {
    if (!has(key)) return std::nullopt;
    return (this->*read)(key);
  }

  /// Reports a problem that the caller found in a field. `what` follows the field's name in the message.
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
