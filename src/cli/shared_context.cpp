#include "cli/shared_context.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <ranges>
#include <vector>

#include "base/progress.h"
#include "batch/executor.h"
#include "cli/memory_map.h"

namespace strata::cli {
namespace {

// Chat templates, grammars and the texts of requests that wait. Estimated.
constexpr Bytes kRequests{32ULL << 20};
constexpr std::uint32_t kMostSequences = 256;  // libllama's limit
constexpr std::uint64_t kPartForCache = 4;     // of the budget, at most: weights that stay are worth more
constexpr std::uint64_t kMostCells = 1U << 20;
constexpr std::uint64_t kStep = 256;   // libllama pads contexts to this
constexpr std::size_t kMostSizes = 6;  // of contexts that are weighed: each is made once
constexpr std::uint32_t kLeastUbatch = 64;
constexpr std::uint32_t kMostUbatch = 2048;

/// Places beside those of requests, for what they begin with. A recurrent state or a sliding window takes
/// memory for each.
std::uint32_t places_for_prefixes(const engine::Engine& engine, std::uint32_t requests) {
  return std::min(batch::Executor::can_share_parts(engine.model()) ? 8U : 2U, kMostSequences - requests);
}

std::uint32_t cells(std::uint64_t tokens) {
  return static_cast<std::uint32_t>(align_up(std::min(tokens, kMostCells), kStep));
}

/// What lies on devices, as forecasts want it, with what `machine` knows of these cards.
plan::DeviceSplit split_of(const engine::Engine& engine, const hardware::Profile& machine) {
  plan::DeviceSplit out;
  std::uint32_t layers = 0;
  for (engine::DeviceUse& use : engine.devices()) {
    const auto known = std::ranges::find(machine.gpus, use.share.gpu.name, &hardware::Gpu::name);
    if (known != machine.gpus.end()) use.share.gpu = *known;
    out.weights += use.share.weights + use.share.experts;
    layers += use.share.layers;
    out.devices.push_back(std::move(use.share));
  }
  if (engine.profile().layers > 0)
    out.share_of_attention = static_cast<double>(layers) / engine.profile().layers;
  return out;
}

/// Tries shapes of the context, and keeps the one that promises the most.
class Choice {
 public:
  Choice(engine::Engine& engine, engine::ContextOptions context, const plan::SharedWork& work,
         const hardware::Profile& machine)
      : engine_(engine), context_(std::move(context)), work_(work), machine_(machine) {}

  /// False where it does not fit. Errors: others of Engine::prepare().
  Result<bool> weigh(std::uint32_t tokens, std::optional<std::uint32_t> ubatch) {
    engine::ContextOptions context = context_;
    context.context = tokens;
    if (ubatch) context.ubatch = ubatch;
    const Status prepared = engine_.prepare(context);
    if (!prepared && prepared.error().code == ErrorCode::kInfeasible) {
      weighed_ +=
          fmt::format("; {} tokens{}: too much", tokens, ubatch ? fmt::format(" -ub {}", *ubatch) : "");
      return false;
    }
    STRATA_TRY_VOID(prepared);
    const plan::RunPlan& plan = engine_.plan();
    const plan::SharedForecast forecast =
        plan::forecast_shared(engine_.profile(), plan, split_of(engine_, machine_), machine_, work_);
    weighed_ += fmt::format("; {} tokens -ub {}, {} at once: {:.1f} tokens/s", plan.context, plan.ubatch,
                            forecast.at_once, forecast.tokens_per_second);
    if (best_ && forecast.tokens_per_second < best_->forecast.tokens_per_second * kWorthIt) return true;
    best_ = {plan.context, plan.ubatch, forecast, plan.placement.streamed_per_pass};
    return true;
  }

  /// The same with a cache of half the bytes: what it writes would differ, so that it is for people to
  /// choose.
  void weigh_smaller_cache() {
    engine::ContextOptions context = context_;
    if (context.type_k != GGML_TYPE_F16 || context.type_v != GGML_TYPE_F16) return;
    context.context = best_->context;
    context.ubatch = best_->ubatch;
    context.type_k = context.type_v = GGML_TYPE_Q8_0;
    if (!engine_.prepare(context)) return;  // not every model can
    const plan::SharedForecast forecast = plan::forecast_shared(engine_.profile(), engine_.plan(),
                                                                split_of(engine_, machine_), machine_, work_);
    if (forecast.tokens_per_second > best_->forecast.tokens_per_second * kWorthSaying)
      hint_ = fmt::format("; -ctk q8_0 -ctv q8_0 (other text): {:.1f}", forecast.tokens_per_second);
  }

  struct Shape {
    std::uint32_t context = 0;
    std::uint32_t ubatch = 0;
    plan::SharedForecast forecast;
    Bytes streamed;
  };
  [[nodiscard]] const std::optional<Shape>& best() const { return best_; }

  /// Prepares the best one. Requires: there is one.
  Status take() {
    fmt::print(stderr,
               "plan: {} requests at once in {} tokens, -ub {}: about {:.1f} tokens/s, bound by {}, {} read "
               "in each pass\n",
               best_->forecast.at_once, best_->context, best_->ubatch, best_->forecast.tokens_per_second,
               to_string(best_->forecast.decode.bound_by), format_bytes(best_->streamed));
    fmt::print(stderr, "plan: weighed{}\n", weighed_.substr(1) + hint_);
    context_.context = best_->context;
    context_.ubatch = best_->ubatch;
    return engine_.prepare(context_);
  }

 private:
  static constexpr double kWorthIt = 1.02;  // times as fast, for more memory than the best until now
  static constexpr double kWorthSaying = 1.05;

  engine::Engine& engine_;
  engine::ContextOptions context_;
  const plan::SharedWork& work_;
  const hardware::Profile& machine_;
  std::optional<Shape> best_;
  std::string weighed_;
  std::string hint_;
};

/// From few tokens to many: of two that are as fast, the one that needs less memory.
Status prepare_best(engine::Engine& engine, const engine::ContextOptions& context,
                    const plan::SharedWork& work, std::uint32_t least, const hardware::Profile& machine) {
  Choice choice(engine, context, work, machine);
  std::vector<std::uint32_t> sizes{
      std::max(least, cells(work.requests * static_cast<std::uint64_t>(work.tokens())))};
  while (sizes.back() / 2 >= least && sizes.size() < kMostSizes) sizes.push_back(cells(sizes.back() / 2));
  for (const std::uint32_t size : sizes | std::views::reverse) {
    STRATA_TRY(const bool fits, choice.weigh(size, context.ubatch));
    if (!fits) break;
  }
  if (!choice.best()) {
    engine::ContextOptions smallest = context;
    smallest.context = least;
    return engine.prepare(smallest);  // says what is missing
  }
  const Choice::Shape first = *choice.best();
  for (const std::uint32_t ubatch : {first.ubatch / 2, first.ubatch * 2}) {
    if (context.ubatch || ubatch < kLeastUbatch || ubatch > kMostUbatch) continue;
    STRATA_TRY_VOID(choice.weigh(first.context, ubatch));
  }
  choice.weigh_smaller_cache();
  return choice.take();
}

Result<bool> fits_with(engine::Engine& engine, engine::ContextOptions context, std::uint32_t tokens) {
  context.context = context.least_context = tokens;
  const Status prepared = engine.prepare(context);
  if (!prepared && prepared.error().code != ErrorCode::kInfeasible) return std::unexpected(prepared.error());
  return prepared.has_value();
}

}  // namespace

Status prepare_shared(engine::Engine& engine, engine::ContextOptions context,
                      const ExpectedRequests& expected, const std::optional<hardware::Profile>& machine) {
  const plan::SharedWork& work = expected.work;
  context.drafts = {};
  context.shared_cells = true;
  context.embeddings = true;
  context.sequences = work.requests + places_for_prefixes(engine, work.requests);
  const auto vocabulary = static_cast<std::uint64_t>(llama_vocab_n_tokens(engine.vocab()));
  context.client_reserve =
      kRequests + expected.client_reserve + Bytes{2 * sizeof(llama_token_data) * vocabulary} * work.requests;
  // Of models that only embed there is no cache to share.
  if (context.context || engine.only_embeds()) return engine.prepare(context);
  std::uint32_t least = cells(expected.most_tokens);
  const std::uint32_t smallest = cells(std::min(expected.most_tokens, expected.least_tokens));
  while (least > smallest) {
    STRATA_TRY(const bool fits, fits_with(engine, context, least));
    if (fits) break;
    least = std::max(smallest, cells(least / 2));
  }
  if (least < cells(expected.most_tokens))
    fmt::print(stderr,
               "note: the budget holds no context of {} tokens, which the largest request may take: answers "
               "end after {}, with their prompt\n",
               expected.most_tokens, least);
  context.least_context = least;
  if (machine) return prepare_best(engine, context, work, least, *machine);
  fmt::print(stderr,
             "note: nothing is known of this machine's speed: strata probe -m MODEL measures it, for a "
             "better plan\n");
  context.context = std::max(least, cells(work.requests * static_cast<std::uint64_t>(work.tokens())));
  for (;;) {
    const Status prepared = engine.prepare(context);
    const bool too_much = prepared ? engine.plan().demand.kv_cache * kPartForCache > engine.plan().budget
                                   : prepared.error().code == ErrorCode::kInfeasible;
    if (!too_much || *context.context <= least) return prepared;
    context.context = std::max(least, cells(*context.context / 2));
  }
}

Status start_and_show(engine::Engine& engine, const std::function<bool()>& stopped) {
  {
    std::optional<ProgressBar> bar;
    STRATA_TRY_VOID(engine.start([&](Bytes done, Bytes total) {
      if (!bar) bar.emplace("loading", total);
      bar->update(done);
      return !stopped();
    }));
  }
  for (const std::string& note : engine.notes()) fmt::print(stderr, "note: {}\n", note);
  for (const engine::DeviceUse& device : engine.devices())
    fmt::print(stderr, "{}", draw_device_map(device.share));
  fmt::print(stderr, "{}", draw_memory_map(engine.memory_map()));
  return {};
}

}  // namespace strata::cli
