#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
}

namespace brimful::cli {

/// Whether `flag` is one of llama.cpp's flags that have several letters behind one dash, such as `-ub`.
[[nodiscard]] bool is_flag_with_one_dash(std::string_view flag);

/// The arguments as the parser takes them: last first, and llama.cpp's flags of several letters behind one
/// dash (`-ub`) with two. `command` tells which flags are followed by a value, which stays as it is.
/// Errors: kInvalidArgument for a flag that `command` does not have. The message names the nearest flag.
[[nodiscard]] Result<std::vector<std::string>> parser_arguments(const CLI::App& command,
                                                                std::span<char* const> arguments);

}  // namespace brimful::cli
