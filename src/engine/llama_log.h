#pragma once

#include <string>

namespace brimful::engine {

/// Takes over the logs of libllama and ggml for the whole process: nothing is printed; warnings and errors
/// are kept, so that a failure can be told in one line. Where ggml ends the process, one line is all it says.
/// Threading: thread-safe.
void capture_llama_logs();

/// The last error line since an error was last taken, without newline; empty when there was none.
[[nodiscard]] std::string take_llama_error();
/// The first one: where errors follow from each other, the cause.
[[nodiscard]] std::string take_first_llama_error();

}  // namespace brimful::engine
