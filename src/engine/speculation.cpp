#include "engine/speculation.h"

#include <ngram-map.h>

#include <algorithm>

#include "engine/engine.h"

namespace strata::engine {
namespace {

// Tokens that must stand there a second time before what followed them is drafted.
constexpr std::uint16_t kNgram = 3;
// What passes of several tokens cost is found out again after so many drafts that were withheld for it.
constexpr unsigned kForget = 64;
constexpr double kNewest = 0.25;

}  // namespace

void Speculation::begin() {
  ngrams_.guess.clear();
  model_.guess.clear();
}

Result<std::vector<llama_token>> Speculation::draft(const std::vector<llama_token>& text, llama_token last,
                                                    std::size_t most) {
  if (engine_.longest_draft() == 0) return {};
  std::vector<llama_token> ngram = from_ngrams(text, last);
  if (!pass_time_.known() || most == 0) return {};
  const DraftLength of_ngram = ngram_length(std::min(most, ngram.size()));
  const std::size_t of_model = model_length(most, of_ngram.tokens_per_second);
  if (of_model == 0) {
    ngram.resize(of_ngram.tokens);
    return ngram;
  }
  STRATA_TRY(DraftModel::Draft draft, engine_.draft_model()->draft(text, last, of_model));
  if (!draft.tokens.empty()) {
    const double each = draft.seconds / static_cast<double>(draft.tokens.size());
    model_seconds_ = model_seconds_ > 0 ? model_seconds_ + kNewest * (each - model_seconds_) : each;
  }
  model_.expect(draft.tokens);
  return std::move(draft.tokens);
}

std::vector<llama_token> Speculation::from_ngrams(const std::vector<llama_token>& text, llama_token last) {
  if (!use_ngrams_) return {};
  const auto longest = static_cast<std::uint16_t>(engine_.longest_draft());
  std::vector<llama_token> draft = common_ngram_simple_draft({kNgram, longest}, text, last);
  if (ngrams_.guess.empty()) ngrams_.expect(draft);
  return draft;
}

DraftLength Speculation::ngram_length(std::size_t most) {
  DraftLength best = best_draft_length(ngrams_.acceptance, pass_time_, 0, most);
  if (best.tokens > 0) return best;
  const bool only_for_its_cost =
      best_draft_length(ngrams_.acceptance, pass_time_.hopeful(), 0, most).tokens > 0;
  if (only_for_its_cost && ++withheld_ == kForget) {
    withheld_ = 0;
    best.tokens = 1;
  }
  return best;
}

std::size_t Speculation::model_length(std::size_t most, double tokens_per_second) {
  if (engine_.draft_model() == nullptr) return 0;
  const bool again = pause_ > 0 && --pause_ == 0;
  if (pause_ > 0) return 0;
  const DraftLength best = best_draft_length(model_.acceptance, pass_time_, model_seconds_, most);
  if (again) return std::max<std::size_t>(best.tokens, 1);
  if (best.tokens == 0) {
    pause_ = next_pause_;
    next_pause_ = std::min(2 * next_pause_, kLongestPause);
    return 0;
  }
  next_pause_ = kFirstPause;
  return best.tokens_per_second > tokens_per_second ? best.tokens : 0;
}

void Speculation::wrote(llama_token id) {
  ngrams_.compare(id);
  model_.compare(id);
}

void Speculation::Source::expect(const std::vector<llama_token>& tokens) {
  guess = tokens;
  right = 0;
}

void Speculation::Source::compare(llama_token id) {
  if (guess.empty()) return;
  if (guess[right] == id && ++right < guess.size()) return;
  acceptance.observe(guess.size(), right);
  guess.clear();
}

}  // namespace strata::engine
