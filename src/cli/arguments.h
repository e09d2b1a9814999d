#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
}

namespace strata::cli {

/// The arguments as the parser takes them: last first, and llama.cpp's flags of several letters behind one
/// dash (`-ub`) with two. `command` tells which flags are followed by a value, which stays as it is.
/// Errors: kInvalidArgument for a flag of several letters that is not known: the parser would take `-ngl` for
/// `-n gl`.
[[nodiscard]] Result<std::vector<std::string>> parser_arguments(const CLI::App& command,
                                                                std::span<char* const> arguments);

}  // namespace strata::cli
