#pragma once

#include "plan/option_names.h"

namespace brimful::cli {

/// The program's flags, for the messages of everything below the program.
[[nodiscard]] const plan::OptionNames& flag_names();

}  // namespace brimful::cli
