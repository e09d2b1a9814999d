#pragma once

#include <sampling.h>

#include "engine/engine.h"

namespace strata::engine {

/// llama-common's sampler chain for the engine's model. Errors: kInvalidArgument when it refuses its
/// parameters (a grammar that does not parse).
[[nodiscard]] Result<common_sampler_ptr> make_sampler(const Engine& engine, common_params_sampling& params);

/// Chooses a token from output `output` of the last pass. Errors: kUnsupported for a grammar that contradicts
/// itself.
[[nodiscard]] Result<llama_token> sample(common_sampler& sampler, const Engine& engine, std::int32_t output);

}  // namespace strata::engine
