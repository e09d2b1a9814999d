#pragma once

#include <cstdint>

#include "base/result.h"
#include "model/model_profile.h"

// The heads of a model are its last layers where these predict further tokens (multi-token prediction, called
// "nextn" in the files). They have no part in plain decoding, and can draft.
namespace brimful::model {

/// Number of layers that predict further tokens, by their tensors. Pure.
[[nodiscard]] std::uint32_t head_layers(const ModelProfile& profile);

/// The size of these layers' weights. Pure.
[[nodiscard]] Bytes bytes_of_heads(const ModelProfile& profile);

/// Checks whether the heads of a model can draft. libllama builds their graph only for some architectures,
/// and aborts where a tensor is missing. Pure. Errors: kUnsupported, with what is missing.
[[nodiscard]] Status check_heads(const ModelProfile& profile);

}  // namespace brimful::model
