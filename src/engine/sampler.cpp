#include "engine/sampler.h"

#include <fmt/format.h>

#include "engine/llama_log.h"

namespace strata::engine {

Result<common_sampler_ptr> make_sampler(const Engine& engine, common_params_sampling& params) {
  // A grammar says where the text ends: without that end, nothing would be left to choose.
  if (params.ignore_eos && params.grammar.empty()) {
    for (llama_token id = 0; id < llama_vocab_n_tokens(engine.vocab()); ++id) {
      if (llama_vocab_is_eog(engine.vocab(), id)) params.logit_bias.push_back({id, -INFINITY});
    }
  }
  const CapturedStderr captured;
  std::string why;
  try {
    common_sampler_ptr sampler(common_sampler_init(engine.model(), params));
    if (sampler != nullptr) return sampler;
    why = captured.first_line();
  } catch (const std::exception& error) {
    why = captured.first_line();
    if (why.empty()) why = error.what();
  }
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("the {} cannot be used: {}", params.grammar.empty() ? "sampling flags" : "grammar", why));
}

Result<llama_token> sample(common_sampler& sampler, const Engine& engine, std::int32_t output) {
  try {
    const llama_token id = common_sampler_sample(&sampler, engine.context(), output);
    common_sampler_accept(&sampler, id, true);
    return id;
  } catch (const std::exception& error) {  // a grammar that contradicts itself
    return fail(ErrorCode::kUnsupported, fmt::format("llama.cpp cannot choose a token: {}", error.what()));
  }
}

}  // namespace strata::engine
