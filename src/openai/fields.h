#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/json_text.h"
#include "base/result.h"

namespace brimful::openai {

/// The name of the field that an error is about, if the message begins with one (see Fields).
[[nodiscard]] std::optional<std::string> field_of(const std::string& message);

/// Reads the fields of a JSON object of a request. Every error is kInvalidArgument, and its message begins
/// with the field's name: `temperature: must be a number from 0 to 2`. A field that is null counts as
/// missing; for a missing field, the functions return nothing, and no error.
class Fields {
 public:
  /// `object` outlives this. `path` is put in front of the names in messages, for example `messages[0].`.
  explicit Fields(const nlohmann::ordered_json& object, std::string path = "")
      : object_(object), path_(std::move(path)) {}

  /// The value of a field; null when it is missing.
  [[nodiscard]] const nlohmann::ordered_json* find(const char* name) const;
  [[nodiscard]] Result<std::optional<double>> number(const char* name, double least, double most) const;
  [[nodiscard]] Result<std::optional<std::int64_t>> integer(const char* name, std::int64_t least,
                                                            std::int64_t most) const;
  [[nodiscard]] Result<std::optional<bool>> boolean(const char* name) const;
  [[nodiscard]] Result<std::optional<std::string>> text(const char* name) const;
  /// Reads a string, or an array of strings. The result is empty for a missing field.
  [[nodiscard]] Result<std::vector<std::string>> texts(const char* name) const;
  /// Makes the error for a field: the path, `name`, and `why`.
  [[nodiscard]] std::unexpected<Error> refuse(const char* name, const std::string& why) const;

 private:
  const nlohmann::ordered_json& object_;
  const std::string path_;
};

}  // namespace brimful::openai
