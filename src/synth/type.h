#pragma once

#include <ggml.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace brimful::synth {

/// The types that random weights can have: those that ggml can both quantise to and compute with.
[[nodiscard]] std::vector<ggml_type> synth_types();

/// Returns whether the type's quantiser searches a codebook, which takes seconds. For these types any bytes
/// are a valid block.
[[nodiscard]] bool has_codebook(ggml_type type);

/// Returns the type with that name: ggml's name in upper or lower case, such as Q4_K or bf16.
/// Errors: kInvalidArgument; the message lists the known names.
[[nodiscard]] Result<ggml_type> find_synth_type(std::string_view name);

/// The name of a type in its usual spelling: ggml's name in capitals.
[[nodiscard]] std::string synth_type_name(ggml_type type);

/// Returns `wanted`, or the type that llama.cpp's quantiser would take instead when a row is no whole number
/// of its blocks: Q8_0, else F16.
[[nodiscard]] ggml_type type_for_rows(ggml_type wanted, std::int64_t row_length);

}  // namespace brimful::synth
