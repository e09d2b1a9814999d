#pragma once

#include <brimful/sampling.h>
#include <sampling.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "session/notes.h"

namespace brimful::session {

/// A JSON schema that an answer must follow, as llama.cpp can follow it.
struct FollowedSchema {
  nlohmann::ordered_json schema;
  common_grammar grammar;
};

/// Reads a JSON schema from `text`, and rewrites it so that llama.cpp can follow it. `name` is what the face
/// calls it, for messages; `notes` says which parts of the schema are not enforced. With `strict`, these are
/// an error. Errors: kInvalidArgument; the message begins with `name`.
[[nodiscard]] Result<nlohmann::ordered_json> readable_schema(const std::string& text, const std::string& name,
                                                             const Notes& notes, bool strict = false);
/// Does the same, and makes the schema's grammar. Errors: as above.
[[nodiscard]] Result<FollowedSchema> followed_schema(const std::string& text, const std::string& name,
                                                     const Notes& notes, bool strict = false);

/// The rules of an answer: at most one of the two is set.
struct AnswerRules {
  common_grammar grammar;
  std::optional<nlohmann::ordered_json> schema;
};

/// Reads the grammar or the schema of `options`. Errors: kInvalidArgument, naming the field.
[[nodiscard]] Result<AnswerRules> answer_rules(const SamplingOptions& options, const Notes& notes);

/// Returns llama.cpp's parameters for `options`, without the grammar and the stop strings. `vocabulary` is
/// the number of the model's tokens. Errors: kInvalidArgument; the message begins with the option's name.
[[nodiscard]] Result<common_params_sampling> sampling_params(const SamplingOptions& options,
                                                             std::int32_t vocabulary);

}  // namespace brimful::session
