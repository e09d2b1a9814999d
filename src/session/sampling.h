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

/// Reads a schema from `text`. `name` is what the face calls it, for messages; `notes` says which parts of
/// the schema are not enforced. Errors: kInvalidArgument; the message begins with `name`.
[[nodiscard]] Result<FollowedSchema> followed_schema(const std::string& text, const std::string& name,
                                                     const Notes& notes);

/// The rules of an answer: at most one of the two is set.
struct AnswerRules {
  common_grammar grammar;
  std::optional<nlohmann::ordered_json> schema;
};

/// Reads the grammar or the schema of `options`. Errors: kInvalidArgument, naming the field.
[[nodiscard]] Result<AnswerRules> answer_rules(const SamplingOptions& options, const Notes& notes);

/// llama.cpp's parameters for the numbers and the seed of `options`; grammar and stop strings are not in
/// them. Errors: kInvalidArgument for a number without such a name, or out of its range; the message begins
/// with its name.
[[nodiscard]] Result<common_params_sampling> sampling_params(const SamplingOptions& options);

}  // namespace brimful::session
