#pragma once

#include <common.h>

#include <string>

#include "base/result.h"

namespace strata::cli {

/// A GBNF grammar that the answer must follow. Errors: kInvalidArgument, naming --grammar.
[[nodiscard]] Result<common_grammar> grammar_of_gbnf(const std::string& text);

/// The grammar of all JSON that follows a schema. Errors: kInvalidArgument, naming --json-schema.
[[nodiscard]] Result<common_grammar> grammar_of_schema(const std::string& text);

}  // namespace strata::cli
