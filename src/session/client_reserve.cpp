#include "session/client_reserve.h"

#include "control/server.h"
#include "engine/sampler_memory.h"

namespace brimful::session {

engine::ClientReserve client_reserve(const engine::Engine& engine, const common_params_sampling& sampling,
                                     bool with_template, Bytes more) {
  engine::SamplerWork work =
      engine::sampler_work(static_cast<std::size_t>(llama_vocab_n_tokens(engine.vocab())), sampling);
  work.templates = with_template;
  return [work, more](Bytes budget) {
    return engine::sampler_memory(work, foreign::foreign_limits_for(budget)) + control::Server::kMemory +
           more;
  };
}

}  // namespace brimful::session
