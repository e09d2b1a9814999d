#pragma once

#include "base/result.h"
#include "model/gguf_values.h"

/// What a well-formed header says about the model, checked as far as libllama trusts it: values that it would
/// answer with an abort, a division by zero, an endless loop or a wild allocation are refused here. A file
/// that libllama itself refuses in an orderly way may pass.
namespace brimful::model {

/// The `<arch>.*` hyper-parameters. Errors: kCorrupt, kUnsupported.
[[nodiscard]] Status check_architecture(const GgufValues& values);

/// The `tokenizer.*` keys. A header without a tokenizer passes. Errors: kCorrupt.
[[nodiscard]] Status check_tokenizer(const GgufValues& values);

/// The types of the tensors: ggml's kernels abort, or jump to nowhere, on types that they do not expect.
/// Errors: kUnsupported.
[[nodiscard]] Status check_tensor_types(const GgufHeader& header);

}  // namespace brimful::model
