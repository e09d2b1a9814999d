#pragma once

#include <common.h>

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"

namespace brimful::engine {

/// A number that shapes how tokens are sampled. One table of them serves the flags of `run` and the fields of
/// requests. Both have llama.cpp's names, meanings and defaults.
struct SamplingOption {
  /// Name of the field in a request.
  const char* field;
  /// Another name of the field; null: there is none. If both are given, `field` wins.
  const char* other_field;
  /// The flags of `run`.
  const char* flags;
  std::variant<float common_params_sampling::*, std::int32_t common_params_sampling::*> value;
  /// The smallest allowed value.
  double least;
  /// The largest allowed value.
  double most;
  const char* help;
  /// The largest allowed value in requests, if OpenAI's API sets a lower limit.
  std::optional<double> most_in_requests = {};
};

[[nodiscard]] std::span<const SamplingOption> sampling_options();

/// The samplers with these llama.cpp names, in the given order. Errors: kInvalidArgument for an unknown name.
[[nodiscard]] Result<std::vector<common_sampler_type>> samplers_of(const std::vector<std::string>& names);
/// The same, with one letter for each sampler, for example `edkypmxt`.
[[nodiscard]] Result<std::vector<common_sampler_type>> samplers_of_letters(const std::string& letters);

}  // namespace brimful::engine
