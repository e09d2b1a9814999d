#include "engine/engine.h"

#include "engine/llama_log.h"

namespace brimful::engine {

Engine::Engine(std::unique_ptr<RamBudget> ram, std::unique_ptr<OpenedModel> model)
    : ram_(std::move(ram)),
      model_(std::move(model)),
      gpus_(model_->options(), model_->profile(), model_->host()),
      context_(*model_, gpus_),
      preparer_(*ram_, *model_, gpus_, context_),
      starter_(*ram_, *model_, gpus_, context_, preparer_),
      switch_(*ram_, *model_, gpus_, context_, preparer_, starter_) {}

Result<std::unique_ptr<Engine>> Engine::open(OpenOptions options) {
  capture_llama_logs();
  BRIMFUL_TRY(model::ModelProfile profile, model::read_model(options.model, options.weights));
  // This budget holds until prepare() knows how much memory other instances take. It is enough for the
  // vocabulary.
  BRIMFUL_TRY(std::unique_ptr<RamBudget> ram,
              RamBudget::create({options.ram, options.machine, options.claims_memory, options.names.ram}));
  BRIMFUL_TRY(std::unique_ptr<OpenedModel> model,
              OpenedModel::open(std::move(options), std::move(profile), *ram));
  return std::unique_ptr<Engine>(new Engine(std::move(ram), std::move(model)));
}

Status Engine::prepare(const ContextOptions& options) {
  BRIMFUL_TRY(prepared_, preparer_.prepare(options));
  return {};
}

Status Engine::start(const tier::HostDevice::Progress& progress) {
  return starter_.start(prepared_, progress);
}

plan::MemoryMap Engine::memory_map() const {
  return ram_->memory_map(model_->profile(), model_->host().placement());
}

tier::PassStatistics Engine::pass_statistics() const {
  tier::PassStatistics out = model_->host().statistics();
  const tier::StreamStatistics sending = gpus_.statistics();
  out.read += sending.read;
  out.stalled += sending.stalled;
  return out;
}

}  // namespace brimful::engine
