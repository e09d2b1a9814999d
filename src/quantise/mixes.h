#pragma once

#include <llama.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace brimful::quantise {

/// A name that llama.cpp's quantiser takes for what to make: a mix of types, or one type for all weights.
struct Target {
  std::string_view name;  ///< for example `Q4_K_M`
  llama_ftype type = LLAMA_FTYPE_ALL_F32;
  /// True for `COPY`: no tensor changes its type.
  bool only_copy = false;
};

/// All names, in the order of llama.cpp's quantiser.
[[nodiscard]] const std::vector<Target>& targets();

/// Returns the target of that name, in upper or lower case; null when there is none.
[[nodiscard]] const Target* find_target(std::string_view name);

/// Returns the type of ggml with that name, in upper or lower case, when a tensor can be quantised to it.
[[nodiscard]] std::optional<ggml_type> find_type(std::string_view name);

}  // namespace brimful::quantise
