#include "session/context_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <ranges>
#include <vector>

#include "engine/sampler_memory.h"
#include "schedule/scheduler.h"

namespace brimful::session {
namespace {

// Bytes for the texts and tokens of waiting requests. Estimated.
constexpr Bytes kRequests{8ULL << 20};
constexpr std::uint32_t kMostSequences = 256;  // libllama's limit
// The KV cache may take this part of the budget, because resident weights are worth more.
constexpr std::uint64_t kPartForCache = 4;
constexpr std::uint64_t kMostCells = 1U << 20;
constexpr std::uint64_t kStep = 256;  // libllama pads contexts to a multiple of this
// The largest number of context sizes that are compared. Each of them is made once.
constexpr std::size_t kMostSizes = 6;
// The largest number of requests at once, when the machine was not measured.
constexpr std::uint32_t kUsualRequests = 32;
constexpr std::uint32_t kLeastUbatch = 64;
constexpr std::uint32_t kMostUbatch = 2048;

// Requests that nobody knows yet. Assumed, in tokens.
constexpr double kMeanPrompt = 768;
constexpr double kMeanAnswer = 256;
constexpr std::uint64_t kUsualContext = 4096;

/// Number of sequence ids for shared prefixes, in addition to those of requests. They are few for recurrent
/// states and sliding windows, which take memory for each id.
std::uint32_t places_for_prefixes(const engine::Engine& engine, std::uint32_t requests) {
  return std::min(schedule::Scheduler::can_share_parts(engine.model()) ? 8U : 2U, kMostSequences - requests);
}

/// The context options that follow from the number of tokens of a context.
class Contexts {
 public:
  Contexts(const engine::Engine& engine, engine::ContextOptions base, const ExpectedRequests& expected)
      : base_(std::move(base)),
        expected_(expected),
        places_(places_for_prefixes(engine, expected.work.requests)),
        vocabulary_(static_cast<std::size_t>(llama_vocab_n_tokens(engine.vocab()))) {}

  /// How many requests run at once in a context of `tokens` tokens: some more than requests of the mean
  /// length would fit.
  [[nodiscard]] std::uint32_t at_once(std::uint32_t tokens) const {
    const plan::SharedWork& work = expected_.work;
    if (!expected_.lengths_known) return work.requests;
    const double fit = kSpare * tokens / std::max(work.tokens(), 1.0);
    return std::clamp(static_cast<std::uint32_t>(std::ceil(fit)), 1U, std::max(work.requests, 1U));
  }
  /// The options for a context of `tokens` tokens.
  [[nodiscard]] engine::ContextOptions of(std::uint32_t tokens) const {
    engine::ContextOptions out = with(at_once(tokens));
    out.context = tokens;
    out.client_reserve = [rest = std::move(out.client_reserve), tokens](Bytes budget) {
      return rest(budget) + foreign::bytes_for_text(tokens, budget) -
             foreign::foreign_limits_for(budget).reading.bytes;
    };
    return out;
  }
  /// The options for `requests` requests at once.
  [[nodiscard]] engine::ContextOptions with(std::uint32_t requests) const {
    engine::ContextOptions out = base_;
    out.sequences = requests + places_;
    const engine::SamplerWork work{.vocabulary = vocabulary_, .at_once = requests};
    out.client_reserve = [work, more = expected_.client_reserve](Bytes budget) {
      return kRequests + (more ? more(budget) : Bytes{}) +
             engine::sampler_memory(work, foreign::foreign_limits_for(budget));
    };
    return out;
  }
  [[nodiscard]] const plan::SharedWork& work() const { return expected_.work; }
  [[nodiscard]] bool chooses_cache() const { return expected_.chooses_cache; }
  [[nodiscard]] const std::string& unmeasured() const { return expected_.unmeasured; }

 private:
  static constexpr double kSpare = 1.25;

  engine::ContextOptions base_;
  const ExpectedRequests& expected_;
  const std::uint32_t places_;
  const std::size_t vocabulary_;  // tokens
};

/// A context size for `tokens` tokens, padded as libllama does it.
std::uint32_t cells(std::uint64_t tokens) {
  return static_cast<std::uint32_t>(align_up(std::min(tokens, kMostCells), kStep));
}

/// The weights and layers on devices, in the form for forecasts, with the facts that `machine` has about
/// these cards.
plan::DeviceSplit split_of(const engine::Engine& engine, const hardware::Profile& machine) {
  plan::DeviceSplit out;
  for (engine::DeviceUse& use : engine.devices()) {
    const auto known = std::ranges::find(machine.gpus, use.share.gpu.name, &hardware::Gpu::name);
    if (known != machine.gpus.end()) use.share.gpu = *known;
    out.weights += use.share.weights + use.share.experts;
    out.devices.push_back(std::move(use.share));
  }
  return out;
}

/// Tries several shapes of the context, and keeps the one with the highest forecast rate.
class Choice {
 public:
  Choice(engine::Engine& engine, const Contexts& contexts, const hardware::Profile& machine,
         const Notes& notes)
      : engine_(engine), contexts_(contexts), machine_(machine), notes_(notes) {}

  /// Prepares and forecasts one shape. Returns false when it does not fit. Errors: those of
  /// Engine::prepare(), except kInfeasible.
  Result<bool> weigh(std::uint32_t tokens, std::optional<std::uint32_t> ubatch) {
    engine::ContextOptions context = contexts_.of(tokens);
    if (ubatch) context.ubatch = ubatch;
    const Status prepared = engine_.prepare(context);
    if (!prepared && prepared.error().code == ErrorCode::kInfeasible) {
      weighed_ += fmt::format("; {} tokens{}: too much", tokens,
                              ubatch ? fmt::format(" {} {}", engine_.names().ubatch, *ubatch) : "");
      return false;
    }
    BRIMFUL_TRY_VOID(prepared);
    const plan::HostPlan& plan = engine_.plan();
    const plan::SharedForecast forecast = plan::forecast_shared(
        engine_.profile(), plan, split_of(engine_, machine_), machine_, contexts_.work());
    weighed_ +=
        fmt::format("; {} tokens {} {}, {} at once: {:.1f} tokens/s", plan.context, engine_.names().ubatch,
                    plan.ubatch, forecast.at_once, forecast.tokens_per_second);
    if (best_ && forecast.tokens_per_second < best_->forecast.tokens_per_second * kWorthIt) return true;
    best_ = {plan.context, plan.ubatch, forecast, plan.placement.streamed_per_pass};
    return true;
  }

  /// Forecasts the best shape with a KV cache of half the bytes. The generated text would differ, so it is
  /// only chosen if the user allows that.
  void weigh_smaller_cache() {
    engine::ContextOptions context = contexts_.of(best_->context);
    if (context.type_k != GGML_TYPE_F16 || context.type_v != GGML_TYPE_F16) return;
    context.ubatch = best_->ubatch;
    context.type_k = context.type_v = GGML_TYPE_Q8_0;
    if (!engine_.prepare(context)) return;  // not every model can use this type
    const plan::SharedForecast forecast = plan::forecast_shared(
        engine_.profile(), engine_.plan(), split_of(engine_, machine_), machine_, contexts_.work());
    if (forecast.tokens_per_second <= best_->forecast.tokens_per_second * kWorthSaying) return;
    weighed_ += fmt::format("; {} q8_0 {} q8_0 (other text): {:.1f}", engine_.names().key_cache,
                            engine_.names().value_cache, forecast.tokens_per_second);
    if (!contexts_.chooses_cache()) return;
    best_->forecast = forecast;
    best_->streamed = engine_.plan().placement.streamed_per_pass;
    best_->small_cache = true;
  }

  struct Shape {
    std::uint32_t context = 0;
    std::uint32_t ubatch = 0;
    plan::SharedForecast forecast;
    Bytes streamed;
    bool small_cache = false;
  };
  [[nodiscard]] const std::optional<Shape>& best() const { return best_; }

  /// Prepares the best shape. Requires: there is one.
  Status take() {
    notes_(fmt::format(
        "plan: {} requests at once in {} tokens{}, {} {}: about {:.1f} tokens/s, bound by {}, {} read "
        "in each pass",
        best_->forecast.at_once, best_->context, best_->small_cache ? " of q8_0" : "", engine_.names().ubatch,
        best_->ubatch, best_->forecast.tokens_per_second, to_string(best_->forecast.decode.bound_by()),
        format_bytes(best_->streamed)));
    notes_(fmt::format("plan: weighed{}", weighed_.substr(1)));
    engine::ContextOptions context = contexts_.of(best_->context);
    context.ubatch = best_->ubatch;
    if (best_->small_cache) context.type_k = context.type_v = GGML_TYPE_Q8_0;
    return engine_.prepare(context);
  }

 private:
  // A shape with more memory than the best one so far must be faster by this factor.
  static constexpr double kWorthIt = 1.02;
  /// A smaller cache is only mentioned when it is faster by this factor.
  static constexpr double kWorthSaying = 1.05;

  engine::Engine& engine_;
  const Contexts& contexts_;
  const hardware::Profile& machine_;
  const Notes& notes_;
  std::optional<Shape> best_;
  std::string weighed_;
};

/// Tries sizes from small to large, so that the smaller one of two equally fast contexts is chosen. Returns
/// the number of tokens of the context.
Result<std::uint32_t> prepare_best(engine::Engine& engine, const Contexts& contexts, std::uint32_t least,
                                   const hardware::Profile& machine, const Notes& notes) {
  Choice choice(engine, contexts, machine, notes);
  const std::optional<std::uint32_t> ubatch = contexts.of(least).ubatch;
  const plan::SharedWork& work = contexts.work();
  std::vector<std::uint32_t> sizes{
      std::max(least, cells(work.requests * static_cast<std::uint64_t>(work.tokens())))};
  while (sizes.back() / 2 >= least && sizes.size() < kMostSizes) sizes.push_back(cells(sizes.back() / 2));
  for (const std::uint32_t size : sizes | std::views::reverse) {
    BRIMFUL_TRY(const bool fits, choice.weigh(size, ubatch));
    if (!fits) break;
  }
  if (!choice.best()) {
    BRIMFUL_TRY_VOID(engine.prepare(contexts.of(least)));  // its error says what is missing
    return least;
  }
  const Choice::Shape first = *choice.best();
  for (const std::uint32_t other : {first.ubatch / 2, first.ubatch * 2}) {
    if (ubatch || other < kLeastUbatch || other > kMostUbatch) continue;
    BRIMFUL_TRY_VOID(choice.weigh(first.context, other));
  }
  choice.weigh_smaller_cache();
  BRIMFUL_TRY_VOID(choice.take());
  return choice.best()->context;
}

/// Prepares a context with cells for the expected requests, at most a quarter of the budget. Returns the
/// number of tokens of the context.
Result<std::uint32_t> prepare_usual(engine::Engine& engine, const Contexts& contexts, std::uint32_t least,
                                    const Notes& notes) {
  if (!contexts.unmeasured().empty()) notes(contexts.unmeasured());
  const std::uint32_t requests = std::min(contexts.work().requests, kUsualRequests);
  std::uint32_t tokens =
      std::max(least, cells(requests * static_cast<std::uint64_t>(contexts.work().tokens())));
  for (;;) {
    const Status prepared = engine.prepare(contexts.of(tokens));
    const bool too_much = prepared ? engine.plan().demand.kv_cache * kPartForCache > engine.plan().budget
                                   : prepared.error().code == ErrorCode::kInfeasible;
    if (!too_much || tokens <= least) {
      BRIMFUL_TRY_VOID(prepared);
      return tokens;
    }
    tokens = std::max(least, cells(tokens / 2));
  }
}

/// The size of the context that the largest request needs, or of the largest one that the budget holds.
Result<std::uint32_t> least_context(engine::Engine& engine, const Contexts& contexts,
                                    const ExpectedRequests& expected, const Notes& notes) {
  const std::uint32_t wanted = cells(expected.most_tokens);
  const std::uint32_t smallest = cells(std::min(expected.most_tokens, expected.least_tokens));
  std::uint32_t tokens = wanted;
  while (tokens > smallest) {
    const Status prepared = engine.prepare(contexts.of(tokens));
    if (prepared) break;
    if (prepared.error().code != ErrorCode::kInfeasible) return std::unexpected(prepared.error());
    tokens = std::max(smallest, cells(tokens / 2));
  }
  if (tokens < wanted)
    notes(
        fmt::format("the budget holds no context of {} tokens, which the largest request may take: answers "
                    "end after {}, with their prompt",
                    expected.most_tokens, tokens));
  return tokens;
}

/// The options for a context that many requests share.
engine::ContextOptions shared(engine::ContextOptions context) {
  context.shared_cells = true;
  context.embeddings = true;
  return context;
}

}  // namespace

ExpectedRequests usual_requests(const model::ModelProfile& model, std::uint32_t at_once,
                                std::uint64_t least_tokens) {
  const std::uint64_t trained = model.train_context;
  return {.work = {at_once, kMeanPrompt, kMeanAnswer},
          .most_tokens = trained > 0 ? std::min(trained, kUsualContext) : kUsualContext,
          .least_tokens = least_tokens};
}

Result<bool> holds_least(engine::Engine& engine, engine::ContextOptions context,
                         const ExpectedRequests& expected) {
  const std::uint32_t least = cells(std::min(expected.most_tokens, expected.least_tokens));
  context.least_context = least;
  const Status prepared = engine.prepare(Contexts(engine, shared(std::move(context)), expected).of(least));
  if (!prepared && prepared.error().code != ErrorCode::kInfeasible) return std::unexpected(prepared.error());
  return prepared.has_value();
}

Result<std::uint32_t> prepare_shared(engine::Engine& engine, engine::ContextOptions context,
                                     const ExpectedRequests& expected,
                                     const std::optional<hardware::Profile>& machine, const Notes& notes) {
  context = shared(std::move(context));
  const Contexts contexts(engine, context, expected);
  // A model that only embeds has no cache to share.
  if (context.context || engine.only_embeds()) {
    const bool some = context.context && *context.context > 0 && !engine.only_embeds();
    const std::uint32_t requests = some ? contexts.at_once(*context.context) : expected.work.requests;
    BRIMFUL_TRY_VOID(engine.prepare(contexts.with(requests)));
    return requests;
  }
  BRIMFUL_TRY(const std::uint32_t least, least_context(engine, contexts, expected, notes));
  context.least_context = least;
  const Contexts from_least(engine, context, expected);
  BRIMFUL_TRY(const std::uint32_t tokens, machine ? prepare_best(engine, from_least, least, *machine, notes)
                                                  : prepare_usual(engine, from_least, least, notes));
  return contexts.at_once(tokens);
}

}  // namespace brimful::session
