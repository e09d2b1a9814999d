#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::engine {

/// Takes over the logs of libllama and ggml for the whole process. Nothing is printed; the first and the last
/// error are kept, so that an error message can quote them. When ggml ends the process, it prints one line.
/// Thread-safe.
void capture_llama_logs();

/// The line that is printed when ggml ends the process. `message`: where, as ggml says it. `failure`: what a
/// GPU's driver failed with, as ggml logged it before; empty where no driver failed.
[[nodiscard]] std::string text_of_abort(std::string_view message, std::string_view failure);

/// Takes the last error line, without a newline; empty when there was none since an error was last taken.
[[nodiscard]] std::string take_llama_error();
/// Takes the first error line instead: when errors follow from each other, it is the cause.
[[nodiscard]] std::string take_first_llama_error();
/// Makes an error of `what`, with the last error line as its reason. Takes that line.
[[nodiscard]] Error with_llama_error(ErrorCode code, std::string what);

}  // namespace brimful::engine
