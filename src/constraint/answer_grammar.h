#pragma once

#include <common.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::constraint {

/// A GBNF grammar that the answer must follow. Errors: kInvalidArgument, beginning with `name`: a flag or a
/// field.
[[nodiscard]] Result<common_grammar> grammar_of_gbnf(const std::string& text, std::string_view name);

/// The grammar of all JSON that follows a schema. Errors: as above.
[[nodiscard]] Result<common_grammar> grammar_of_schema(const std::string& text, std::string_view name);

/// Whether each bound of a schema lets something through: a maximum may not be below its minimum. Errors: as
/// above.
[[nodiscard]] Status check_schema_bounds(const nlohmann::ordered_json& schema, std::string_view name);

/// A grammar of `text`, and behind it of what `grammar` allows.
[[nodiscard]] std::string grammar_behind(std::string_view text, std::string_view grammar);

/// A grammar of all texts that one of the two follows. Both are GBNF.
[[nodiscard]] std::string either_grammar(std::string_view one, std::string_view other);
/// A schema that llama.cpp can be given. Its grammar goes through unmark_wide_objects() where it is marked.
struct ReadySchema {
  std::string text;
  bool is_marked = false;
};
/// Checks a schema's JSON and its bounds, and marks its wide objects. Errors: as above.
[[nodiscard]] Result<ReadySchema> ready_schema(const std::string& text, std::string_view name);

}  // namespace brimful::constraint
