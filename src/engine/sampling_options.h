#pragma once

#include <common.h>

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"

namespace brimful::engine {

/// A number that shapes how tokens are chosen. One table of them serves the flags of `run` and the fields of
/// requests; both have llama.cpp's names, meanings and defaults.
struct SamplingOption {
  const char* field;        ///< In a request.
  const char* other_field;  ///< Another name of it there; null: none. `field` wins where both are given.
  const char* flags;        ///< Of `run`.
  std::variant<float common_params_sampling::*, std::int32_t common_params_sampling::*> value;
  double least;
  double most;
  const char* help;
  std::optional<double> most_in_requests = {};  ///< Where OpenAI's API sets a lower limit.
};

[[nodiscard]] std::span<const SamplingOption> sampling_options();

/// The samplers to apply, by llama.cpp's names, in their order. Errors: kInvalidArgument for an unknown name.
[[nodiscard]] Result<std::vector<common_sampler_type>> samplers_of(const std::vector<std::string>& names);
/// The same by one letter for each, such as `edkypmxt`.
[[nodiscard]] Result<std::vector<common_sampler_type>> samplers_of_letters(const std::string& letters);

}  // namespace brimful::engine
