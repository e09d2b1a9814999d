#pragma once

#include <common.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::constraint {

/// Checks a GBNF grammar that the answer must follow. `name` is the flag or the field that the grammar comes
/// from. Errors: kInvalidArgument; the message begins with `name`.
[[nodiscard]] Result<common_grammar> grammar_of_gbnf(const std::string& text, std::string_view name);

/// Makes the grammar of all JSON that follows the schema `text`. Blocks: until no other foreign text is read
/// (see foreign::ForeignReading). Errors: as above.
[[nodiscard]] Result<common_grammar> grammar_of_schema(const std::string& text, std::string_view name);

/// Checks that each pair of bounds in a schema allows something: no maximum is below its minimum. It also
/// checks the patterns, see check_pattern(). Errors: as above.
[[nodiscard]] Status check_schema_bounds(const nlohmann::ordered_json& schema, std::string_view name);

/// Makes a grammar of the literal `text`, followed by the texts of `grammar`. Both grammars are GBNF.
[[nodiscard]] std::string grammar_behind(std::string_view text, std::string_view grammar);

/// Makes a grammar of all texts that follow at least one of the two grammars. All grammars are GBNF.
[[nodiscard]] std::string either_grammar(std::string_view one, std::string_view other);
/// A schema that llama.cpp can read. If `is_marked`, unmark_wide_objects() has to rewrite the grammar that
/// llama.cpp makes of it.
struct ReadySchema {
  std::string text;
  bool is_marked = false;
};
/// Checks the JSON and the bounds of a schema, and marks its wide objects. Errors: as above.
[[nodiscard]] Result<ReadySchema> ready_schema(const std::string& text, std::string_view name);

}  // namespace brimful::constraint
