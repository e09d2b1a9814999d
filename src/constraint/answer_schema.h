#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace brimful::constraint {

/// A JSON schema in a form that llama.cpp's converter can follow.
struct AnswerSchema {
  /// The schema, with its patterns rewritten. Patterns that cannot be followed are left out.
  nlohmann::ordered_json schema;
  /// The parts of the schema that an answer need not follow. Each names a keyword and its place, for example
  /// `multipleOf at /properties/n`.
  std::vector<std::string> not_enforced;
};

/// Rewrites a schema for llama.cpp's converter; see merge_schema() and pattern_for_grammar(). Pure.
[[nodiscard]] AnswerSchema schema_for_grammar(const nlohmann::ordered_json& schema);

}  // namespace brimful::constraint
