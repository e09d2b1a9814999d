#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace brimful::constraint {

/// A JSON schema as llama.cpp's converter can follow it.
struct AnswerSchema {
  nlohmann::ordered_json
      schema;  ///< With its patterns rewritten; those that cannot be followed are left out.
  /// What an answer need not follow: each names a keyword and its place, such as `multipleOf at
  /// /properties/n`.
  std::vector<std::string> not_enforced;
};

[[nodiscard]] AnswerSchema schema_for_grammar(const nlohmann::ordered_json& schema);

}  // namespace brimful::constraint
