#include "tier/host/expert_guesses.h"

#include <algorithm>

namespace brimful::tier {

void ExpertGuesses::before_step(const ExpertStep& step) {
  if (read_ == 0) return;
  experts_.poll();
  late_ = experts_.is_late(step.group);
}

/// Compares the guesses with what the step of `group` chose.
void ExpertGuesses::learn(std::uint32_t group) {
  if (guesses_.empty() || next_group_ != group) return;
  const std::span<const std::uint32_t> chosen = experts_.used();
  const auto is_right = [&](const ExpertPredictor::Guess& guess) {
    return std::ranges::binary_search(chosen, guess.expert);
  };
  predictor_.observe(group, guesses_, chosen);
  experts_.count_guesses(guesses_.size(),
                         static_cast<std::uint64_t>(std::ranges::count_if(guesses_, is_right)));
  const std::span was_read = std::span(guesses_).first(read_);
  ahead_.tell(group, {.read = read_,
                      .wrong = static_cast<std::size_t>(
                          std::ranges::count_if(was_read, [&](const auto& g) { return !is_right(g); })),
                      .late = late_});
}

void ExpertGuesses::after_begin(const CompiledPass& program, std::size_t number) {
  // More than a few tokens choose nearly every expert: then there is nothing to guess.
  constexpr std::int64_t kMostTokens = 4;

  const ExpertStep& step = program.steps()[number];
  learn(step.group);
  ahead_.missed(experts_.missed());
  guesses_.clear();
  read_ = 0;
  late_ = false;
  if (number + 1 == program.steps().size() || step.ids->ne[1] > kMostTokens || step.input == nullptr) return;
  const ExpertStep& next = program.steps()[number + 1];
  const std::span<const float> weights = router_weights(next);
  const auto inputs = static_cast<std::size_t>(step.input->ne[0]);
  if (weights.empty() || !ggml_is_contiguous(step.input) || weights.size() % inputs != 0) return;
  const std::span states(static_cast<const float*>(step.input->data),
                         static_cast<std::size_t>(ggml_nelements(step.input)));
  next_group_ = next.group;
  for (const auto& guess :
       predictor_.guess(weights, states, static_cast<std::uint32_t>(weights.size() / inputs),
                        static_cast<std::uint32_t>(next.ids->ne[0]))) {
    if (!experts_.has(next.group, guess.expert)) guesses_.push_back(guess);
  }
  std::ranges::stable_sort(guesses_, {}, &ExpertPredictor::Guess::rank);
}

void ExpertGuesses::read() {
  const double wrong = 1 - predictor_.right(next_group_);
  const std::size_t allowed = std::min(ahead_.allowed(next_group_, wrong), guesses_.size());
  if (read_ > 0 || allowed == 0) return;
  // The surest come first: where one does not pay, those after it do not pay, either.
  std::vector<std::uint32_t> experts;
  while (experts.size() < allowed && predictor_.pays(next_group_, guesses_[experts.size()].rank))
    experts.push_back(guesses_[experts.size()].expert);
  read_ = experts_.prefetch(next_group_, experts);
}

std::span<const float> ExpertGuesses::router_weights(const ExpertStep& step) const {
  if (!step.router) return {};
  const model::TensorInfo& router = table_.profile().tensors[*step.router];
  const auto* const weights = reinterpret_cast<const float*>(table_.resident(*step.router));
  if (weights == nullptr || router.type != GGML_TYPE_F32) return {};
  return {weights, static_cast<std::size_t>(router.shape[0] * router.shape[1])};
}

}  // namespace brimful::tier
