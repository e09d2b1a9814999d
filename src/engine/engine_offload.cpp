#include <fmt/format.h>

#include <algorithm>

#include "engine/engine.h"

namespace brimful::engine {
namespace {

// The largest number of tries for a split. The compute buffers are known only after a context was made with
// that split.
constexpr int kAttempts = 8;

constexpr int kWarmSteps = 4;  // CUDA makes a graph of a decode step that it has seen several times

}  // namespace

Status Engine::load_on_devices(const plan::DeviceSplit& split) {
  free_context();
  return gpus_->load(split);
}

Status Engine::use_devices(const ContextOptions& options, ContextShape shape, const plan::HostDemand& whole) {
  std::vector<plan::DeviceBudget> budgets = gpus_->budgets_for(shape, whole.compute);
  bool measured = false;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt + 1 == kAttempts) {  // the devices get nothing, which is better than an error
      for (plan::DeviceBudget& budget : budgets) budget.compute = budget.budget;
    }
    BRIMFUL_TRY_VOID(load_on_devices(gpus_->split(whole, budgets, shape)));
    const Status made = make_context(options, shape);
    if (!made && made.error().code == ErrorCode::kBudgetExceeded && attempt + 1 < kAttempts) {
      // The buffers alone passed a budget: the next try has fewer layers, and a smaller part of the KV cache,
      // on the devices.
      for (plan::DeviceBudget& budget : budgets)
        budget.compute = *budget.compute + Bytes{budget.budget.value / 8};
      continue;
    }
    BRIMFUL_TRY_VOID(made);
    BRIMFUL_TRY(const bool fits, gpus_->settle(context_.get(), budgets));
    // The first guess is cautious. With the measured buffers, more may fit.
    if (fits && (measured || gpus_->model() == nullptr)) return {};
    measured = true;
  }
  return fail(ErrorCode::kInfeasible,
              fmt::format("{}: no split of its layers keeps to the devices' budgets; give the devices more "
                          "memory, or less",
                          options_.model.string()));
}

/// Fills the context with `tokens` tokens without computing them: a driver takes more memory when more cells
/// are in use.
Status Engine::fill_context(std::size_t tokens) {
  llama_memory_clear(llama_get_memory(context_.get()), false);
  const auto skip = [&](bool on) {
    device_->skip_computing(on);
    gpus_->skip_computing(on);
  };
  skip(true);
  const Status filled = decode(std::vector<llama_token>(tokens, 0), false);
  skip(false);
  return filled;
}

/// Computes the largest shapes once, with a full context. Only then a driver has taken all the memory that it
/// will take.
Status Engine::warm_up() {
  const std::size_t context = llama_n_ctx_seq(context_.get());
  const std::vector<llama_token> tokens(std::min<std::size_t>(llama_n_ubatch(context_.get()), context), 0);
  if (only_embeds_) return decode(tokens);
  const auto warm = [&](std::size_t count) -> Status {
    BRIMFUL_TRY_VOID(fill_context(context - count));
    return decode(std::span(tokens).first(count));
  };
  BRIMFUL_TRY_VOID(warm(tokens.size()));
  if (gpus_->has_experts())
    BRIMFUL_TRY_VOID(warm(std::min<std::size_t>(plan::kMostTokensOfSlots, tokens.size())));
  BRIMFUL_TRY_VOID(fill_context(context - std::min<std::size_t>(kWarmSteps, context)));
  for (int i = 0; i < kWarmSteps; ++i) BRIMFUL_TRY_VOID(decode(std::span(tokens).first(1)));
  llama_memory_clear(llama_get_memory(context_.get()), false);
  return {};
}

/// Measures whether the drivers take the bytes that were left for them. Errors: kInfeasible when a driver
/// alone takes more than the device's budget.
Result<bool> Engine::measure_drivers() {
  if (gpus_->drivers_tell()) BRIMFUL_TRY_VOID(warm_up());
  return gpus_->measure_drivers(notes_);
}

Status Engine::fit_drivers(const tier::HostDevice::Progress& progress) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    BRIMFUL_TRY(const bool as_planned, measure_drivers());
    if (as_planned) {
      gpus_->keep_driver_figures();
      return {};
    }
    BRIMFUL_TRY_VOID(displace_weights());
    BRIMFUL_TRY_VOID(give_back());
    BRIMFUL_TRY_VOID(prepare(ContextOptions(prepared_)));
    BRIMFUL_TRY_VOID(begin(progress));
  }
  return fail(ErrorCode::kBudgetExceeded,
              fmt::format("{}: a GPU's driver takes more with every start; is another program using it?",
                          options_.model.string()));
}

/// Removes the host's weights from memory. The devices are disconnected first, because they send weights from
/// there.
Status Engine::displace_weights() {
  gpus_->disconnect();
  return device_->displace();
}

tier::PassStatistics Engine::pass_statistics() const {
  tier::PassStatistics out = device_->statistics();
  const tier::StreamStatistics sending = gpus_->statistics();
  out.read += sending.read;
  out.stalled += sending.stalled;
  return out;
}

std::optional<Error> Engine::take_device_error() {
  if (auto error = device_->take_error()) return error;
  return gpus_->take_error();
}

}  // namespace brimful::engine
