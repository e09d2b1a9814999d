#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/json_text.h"
#include "base/result.h"

namespace brimful::openai {

/// The field that an error is about, where its message begins with one: see Fields.
[[nodiscard]] std::optional<std::string> field_of(const std::string& message);

/// The fields of a JSON object that someone else wrote. Every error is kInvalidArgument, and begins with the
/// field's name: `temperature: must be a number from 0 to 2`. A field that is null counts as missing.
class Fields {
 public:
  /// `object` outlives this. `path` stands before the names, such as `messages[0].`.
  explicit Fields(const nlohmann::ordered_json& object, std::string path = "")
      : object_(object), path_(std::move(path)) {}

  [[nodiscard]] const nlohmann::ordered_json* find(const char* name) const;
  [[nodiscard]] Result<std::optional<double>> number(const char* name, double least, double most) const;
  [[nodiscard]] Result<std::optional<std::int64_t>> integer(const char* name, std::int64_t least,
                                                            std::int64_t most) const;
  [[nodiscard]] Result<std::optional<bool>> boolean(const char* name) const;
  [[nodiscard]] Result<std::optional<std::string>> text(const char* name) const;
  /// A text, or an array of them.
  [[nodiscard]] Result<std::vector<std::string>> texts(const char* name) const;
  [[nodiscard]] std::unexpected<Error> refuse(const char* name, const std::string& why) const;

 private:
  const nlohmann::ordered_json& object_;
  const std::string path_;
};

}  // namespace brimful::openai
