#pragma once

#include <ggml.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace brimful::synth {

/// The types random weights can be made in: what ggml can both quantise and compute with.
[[nodiscard]] std::vector<ggml_type> synth_types();

/// `name` is ggml's, in any case: Q4_K, bf16.
/// Errors: kInvalidArgument: the message lists the names that are known.
[[nodiscard]] Result<ggml_type> find_synth_type(std::string_view name);

/// The usual spelling of a type's name: ggml's in capitals.
[[nodiscard]] std::string synth_type_name(ggml_type type);

/// `wanted`, or what llama.cpp's quantiser would take for rows that are no whole number of its blocks.
[[nodiscard]] ggml_type type_for_rows(ggml_type wanted, std::int64_t row_length);

}  // namespace brimful::synth
