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

/// Converts the arguments to the form that CLI11's parser takes: the last one first, and with two dashes for
/// llama.cpp's flags of several letters behind one dash (`-ub`). `command` says which flags have a value;
/// values are not changed.
/// Errors: kInvalidArgument for a flag that `command` does not have. The message names the nearest flag.
[[nodiscard]] Result<std::vector<std::string>> parser_arguments(const CLI::App& command,
                                                                std::span<char* const> arguments);

}  // namespace brimful::cli
