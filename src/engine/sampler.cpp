#include "engine/sampler.h"

#include <fmt/format.h>
#include <reasoning-budget.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <stdexcept>

#include "base/visible_text.h"
#include "constraint/grammar_rules.h"
#include "foreign/foreign_limits.h"

namespace brimful::engine {
namespace {

// Number of grammars that are remembered because try_grammar() has accepted them.
constexpr std::size_t kRemembered = 64;

/// A hash of everything that try_grammar() checks. When two grammars have the same hash by chance, only the
/// check of the second one is skipped.
std::size_t key_of(const Engine& engine, const common_params_sampling& params) {
  std::string all = common_grammar_value(params.grammar) + '\0' + params.generation_prompt + '\0';
  for (const common_grammar_trigger& trigger : params.grammar_triggers) all += trigger.value + '\0';
  all += static_cast<char>('0' + static_cast<int>(params.grammar.type) + (params.grammar_lazy ? 8 : 0));
  return std::hash<std::string>()(all) ^ std::hash<const void*>()(engine.vocab());
}

std::unexpected<Error> grammar_fails(std::string_view why) {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("the grammar cannot be used: {}", visible_text(why.substr(0, why.find('\n')))));
}

}  // namespace

Sampler::Sampler(const Engine& engine, const common_params_sampling& params)
    : engine_(engine), params_(params) {
  common_params_sampling plain = params;  // this class has its own grammar and reasoning budget
  plain.grammar = {};
  plain.grammar_lazy = false;
  plain.grammar_triggers.clear();
  plain.generation_prompt.clear();
  plain.reasoning_budget_start.clear();
  plain.reasoning_control = false;
  for (std::int32_t* const newest : {&plain.penalty_last_n, &plain.dry_penalty_last_n}) {
    if (*newest < 0) *newest = static_cast<std::int32_t>(llama_n_ctx_seq(engine.context()));
  }
  chain_.reset(common_sampler_init(engine.model(), plain));
  if (chain_ == nullptr) throw std::runtime_error("llama.cpp refuses the sampling parameters");
  make_thinking_budget();
  if (!params_.grammar.empty())
    grammar_ = std::make_unique<constraint::GrammarState>(engine.vocab(), engine.first_characters(), params_);
}

/// Follows llama-common. Without a limit, the reasoning budget only finds the end of the thoughts, for a
/// grammar that waits for it.
void Sampler::make_thinking_budget() {
  if (params_.reasoning_budget_start.empty() || params_.reasoning_budget_end.empty()) return;
  if (!params_.grammar_lazy && params_.reasoning_budget_tokens < 0 && !params_.reasoning_control) return;
  const std::int32_t tokens = params_.reasoning_budget_tokens;
  thinking_budget_.reset(common_reasoning_budget_init(
      engine_.vocab(), {params_.reasoning_budget_start}, params_.reasoning_budget_end,
      params_.reasoning_budget_forced, tokens < 0 ? INT32_MAX : tokens));
  for (const llama_token token : constraint::prefilled_tokens(engine_.vocab(), params_))
    llama_sampler_accept(thinking_budget_.get(), token);
}

Status Sampler::reset() {
  if (allowance_) share_time();
  const auto made = foreign::fenced(foreign::foreign_limits().sampling, [&](const foreign::Fence& fence) {
    common_sampler_reset(chain_.get());
    make_thinking_budget();
    if (grammar_ == nullptr) return;
    grammar_.reset();
    grammar_bytes_ = 0;
    grammar_ =
        std::make_unique<constraint::GrammarState>(engine_.vocab(), engine_.first_characters(), params_);
    grammar_bytes_ = fence.held();
  });
  if (!made) return grammar_fails(made.error().message);
  return {};
}

void Sampler::accept_prompt(llama_token token) { common_sampler_accept(chain_.get(), token, false); }

void Sampler::load_logits(std::int32_t output) {
  llama_synchronize(engine_.context());
  const float* const logits = llama_get_logits_ith(engine_.context(), output);
  if (logits == nullptr) throw std::runtime_error("the pass has no logits");
  std::vector<llama_token_data>& candidates = engine_.candidates();
  candidates.resize(static_cast<std::size_t>(llama_vocab_n_tokens(engine_.vocab())));
  for (std::size_t i = 0; i < candidates.size(); ++i)
    candidates[i] = {static_cast<llama_token>(i), logits[i], 0};
}

llama_token Sampler::choose() {
  std::vector<llama_token_data>& candidates = engine_.candidates();
  llama_token_data_array array{candidates.data(), candidates.size(), -1, false};
  if (thinking_budget_ != nullptr) llama_sampler_apply(thinking_budget_.get(), &array);
  llama_sampler_apply(common_sampler_get(chain_.get()), &array);
  if (array.selected < 0 || static_cast<std::size_t>(array.selected) >= array.size)
    throw std::runtime_error("the samplers chose no token");
  return array.data[array.selected].id;
}

bool Sampler::grammar_applies() const {
  if (grammar_ == nullptr || thinking_budget_ == nullptr || !params_.grammar_lazy) return grammar_ != nullptr;
  const auto state = common_reasoning_budget_get_state(thinking_budget_.get());
  return state == REASONING_BUDGET_IDLE || state == REASONING_BUDGET_DONE;
}

/// First, the grammar checks only the token that the samplers chose. If it refuses that token, it filters all
/// candidates, and the samplers choose again.
llama_token Sampler::choose_allowed(std::int32_t output) {
  load_logits(output);
  const llama_token first = choose();
  if (!grammar_applies() || grammar_->allows(first)) return first;
  load_logits(output);
  if (!grammar_->filter(engine_.candidates()))
    throw std::runtime_error("no token of this model's vocabulary continues it");
  return choose();
}

void Sampler::accept(llama_token token) {
  const bool grammar_sees_it = grammar_applies();
  if (thinking_budget_ != nullptr) {
    llama_sampler_accept(thinking_budget_.get(), token);
    const bool done = common_reasoning_budget_get_state(thinking_budget_.get()) == REASONING_BUDGET_DONE;
    const llama_tokens* const end =
        done ? common_reasoning_budget_get_end_match(thinking_budget_.get()) : nullptr;
    if (grammar_ != nullptr && !grammar_sees_it && end != nullptr) {
      for (const llama_token one : *end) grammar_->accept(one);
    }
  }
  if (grammar_sees_it) grammar_->accept(token);
  common_sampler_accept(chain_.get(), token, false);
}

Bytes Sampler::grammar_memory() const {
  return grammar_ == nullptr ? Bytes{}
                             : Bytes{static_cast<std::uint64_t>(std::max<std::int64_t>(grammar_bytes_, 0))};
}

Status Sampler::check_size() const {
  const Bytes most = foreign::foreign_limits().sampling.bytes;
  if (grammar_memory() <= most) return {};
  return grammar_fails(fmt::format("it takes more than {} of memory", format_bytes(most)));
}

Result<llama_token> Sampler::sample(std::int32_t output) {
  if (grammar_ == nullptr) {
    try {
      load_logits(output);
      const llama_token token = choose();
      accept(token);
      return token;
    } catch (const std::exception& error) {
      return fail(ErrorCode::kUnsupported, fmt::format("llama.cpp cannot choose a token: {}", error.what()));
    }
  }
  foreign::FenceLimits limits = foreign::foreign_limits().sampling;
  const bool is_slow = allowance_ && allowance_->left() < limits.time;
  if (is_slow) limits.time = allowance_->left();
  std::chrono::nanoseconds time{};
  const auto token = foreign::fenced(limits, [&](const foreign::Fence& fence) {
    const llama_token chosen = choose_allowed(output);
    accept(chosen);
    grammar_bytes_ += fence.held();
    time = fence.time();
    return chosen;
  });
  if (!token && is_slow &&
      token.error().message == foreign::Fence::reason(foreign::Fence::Hit::kTime, limits))
    return grammar_fails(
        fmt::format("it takes more than {} ms for a token", foreign::TimeAllowance::kForToken.count()));
  if (!token) return grammar_fails(token.error().message);
  if (allowance_) allowance_->spend(time);
  BRIMFUL_TRY_VOID(check_size());
  return *token;
}

Result<SamplerPtr> make_sampler(const Engine& engine, common_params_sampling& params) {
  // A grammar decides where the text ends: without the end-of-text tokens, no candidate would be left.
  if (params.ignore_eos && params.grammar.empty()) {
    for (llama_token id = 0; id < llama_vocab_n_tokens(engine.vocab()); ++id) {
      if (llama_vocab_is_eog(engine.vocab(), id)) params.logit_bias.push_back({id, -INFINITY});
    }
  }
  if (!params.grammar.empty()) {
    const Status read = constraint::check_grammar(common_grammar_value(params.grammar), engine.vocab(),
                                                  foreign::foreign_limits().sampling);
    if (!read) return grammar_fails(read.error().message);
    (void)engine.first_characters();  // they count for the engine, not for this answer
  }
  auto sampler = foreign::fenced(foreign::foreign_limits().sampling, [&](const foreign::Fence& fence) {
    auto out = std::make_unique<Sampler>(engine, params);
    out->grammar_bytes_ = fence.held();
    return out;
  });
  if (!sampler && params.grammar.empty())
    return fail(ErrorCode::kInvalidArgument, fmt::format("the sampling parameters cannot be used: {}",
                                                         visible_text(sampler.error().message)));
  if (!sampler) return grammar_fails(sampler.error().message);
  BRIMFUL_TRY_VOID((*sampler)->check_size());
  return sampler;
}

Status try_grammar(const Engine& engine, const common_params_sampling& params) {
  if (params.grammar.empty()) return {};
  const foreign::ForeignReading right;
  // Batches and conversations use the same grammar again and again. `right` guards this list.
  static std::deque<std::size_t> tried;
  const std::size_t key = key_of(engine, params);
  if (std::ranges::find(tried, key) != tried.end()) return {};
  common_params_sampling own = params;
  BRIMFUL_TRY(const SamplerPtr sampler, make_sampler(engine, own));
  // The limits of time are those of the scheduler's thread, but there must be room for all candidates.
  const foreign::ForeignLimits limits = foreign::foreign_limits();
  foreign::FenceLimits trial = limits.sampling;
  trial.bytes = limits.reading.bytes;
  trial.longest = limits.reading.longest;
  const auto left = foreign::fenced(trial, [&](const foreign::Fence&) {
    std::vector<llama_token_data> all(static_cast<std::size_t>(llama_vocab_n_tokens(engine.vocab())));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = {static_cast<llama_token>(i), 0, 0};
    return sampler->grammar_->filter(all);
  });
  if (!left) return grammar_fails(left.error().message);
  if (!*left) return grammar_fails("no token of this model's vocabulary can begin it");
  tried.push_back(key);
  if (tried.size() > kRemembered) tried.pop_front();
  return {};
}

}  // namespace brimful::engine
