#pragma once

#include "base/result.h"
#include "model/gguf_values.h"

/// Checks of what a well-formed header says about the model, as far as libllama trusts it. The checks refuse
/// values on which libllama would abort, divide by zero, loop without end or allocate an absurd amount of
/// memory. A file that libllama itself refuses with an error may pass. read_model() calls them; messages do
/// not name the file.
namespace brimful::model {

/// Checks the `<arch>.*` hyper-parameters. Errors: kCorrupt, kUnsupported.
[[nodiscard]] Status check_architecture(const GgufValues& values);

/// Checks the `tokenizer.*` keys. A header without a tokenizer passes. Errors: kCorrupt.
[[nodiscard]] Status check_tokenizer(const GgufValues& values);

/// Checks the types of the tensors. ggml's kernels abort, or call through a null pointer, on types that they
/// do not expect.
/// Errors: kUnsupported.
[[nodiscard]] Status check_tensor_types(const GgufHeader& header);

}  // namespace brimful::model
