#include "engine/drafts/speculation.h"

#include <ngram-map.h>

#include <algorithm>

#include "engine/drafts/drafter.h"

namespace brimful::engine {
namespace {

// After so many drafts were not used because of their cost, one draft is tried, to measure that cost again.
constexpr unsigned kForget = 64;
constexpr double kNewest = 0.25;
// Tokens per second that no draft reaches. They stand for drafts that are made in any case.
constexpr double kFirstChoice = 2e30;
constexpr double kSecondChoice = 1e30;

}  // namespace

void Speculation::begin() {
  for (Source& source : ngrams_) source.guess.clear();
  drafted_.guess.clear();
  if (options_.drafter != nullptr) options_.drafter->begin();
}

Status Speculation::computed(std::span<const llama_token> tokens, std::size_t position) {
  return options_.drafter != nullptr ? options_.drafter->computed(tokens, position) : Status{};
}

Result<std::vector<llama_token>> Speculation::draft(const std::vector<llama_token>& text, llama_token last,
                                                    std::size_t most) {
  if (options_.longest == 0) return {};
  most = std::min(most, options_.longest);
  Candidate ngram = from_ngrams(text, last, most);
  if (most > 0 && options_.drafter != nullptr && (pass_time_.known() || options_.always)) {
    const DraftLength length = drafter_length(most);
    if (length.tokens > 0 && length.tokens_per_second > ngram.length.tokens_per_second) {
      BRIMFUL_TRY(Drafter::Draft draft, options_.drafter->draft(text, last, length.tokens));
      if (!draft.tokens.empty()) {
        const double each = draft.seconds / static_cast<double>(draft.tokens.size());
        drafted_seconds_ =
            drafted_seconds_ > 0 ? drafted_seconds_ + kNewest * (each - drafted_seconds_) : each;
        drafted_.expect(draft.tokens);
        return std::move(draft.tokens);
      }
    }
  }
  ngram.tokens.resize(ngram.length.tokens);
  return std::move(ngram.tokens);
}

Speculation::Candidate Speculation::from_ngrams(const std::vector<llama_token>& text, llama_token last,
                                                std::size_t most) {
  if (!options_.ngrams) return {};
  for (Source& source : ngrams_) {
    const auto longest = static_cast<std::uint16_t>(std::max<std::size_t>(options_.longest, source.match));
    Candidate out{common_ngram_simple_draft({source.match, longest}, text, last), {}};
    if (out.tokens.empty()) continue;
    out.tokens.resize(std::min(out.tokens.size(), options_.longest));
    if (source.guess.empty()) source.expect(out.tokens);
    out.length = ngram_length(source.acceptance, std::min(most, out.tokens.size()));
    return out;
  }
  return {};
}

DraftLength Speculation::ngram_length(const Acceptance& acceptance, std::size_t most) {
  if (options_.always) return {most, kFirstChoice};
  if (!pass_time_.known()) return {};
  DraftLength best = best_draft_length(acceptance, pass_time_, 0, most);
  if (best.tokens > 0) return best;
  const bool only_for_its_cost = best_draft_length(acceptance, pass_time_.hopeful(), 0, most).tokens > 0;
  if (only_for_its_cost && ++withheld_ == kForget) {
    withheld_ = 0;
    best.tokens = 1;
  }
  return best;
}

/// The number of tokens is 0 while the drafter does not pay. When it is tried again after a pause, that
/// has priority over any other draft.
DraftLength Speculation::drafter_length(std::size_t most) {
  if (options_.always) return {most, kSecondChoice};
  const bool again = pause_ == 1;
  if (pause_ > 0) --pause_;
  if (pause_ > 0) return {};
  DraftLength best = best_draft_length(drafted_.acceptance, pass_time_, drafted_seconds_, most);
  if (again) return {std::max<std::size_t>(best.tokens, 1), kSecondChoice};
  if (best.tokens > 0) {
    next_pause_ = kFirstPause;
  } else {
    pause_ = next_pause_;
    next_pause_ = std::min(2 * next_pause_, kLongestPause);
  }
  return best;
}

void Speculation::wrote(llama_token id) {
  for (Source& source : ngrams_) source.compare(id);
  drafted_.compare(id);
}

void Speculation::Source::expect(const std::vector<llama_token>& tokens) {
  guess = tokens;
  right = 0;
}

void Speculation::Source::compare(llama_token id) {
  if (guess.empty()) return;
  if (guess[right] == id) {
    ++right;
    if (right < guess.size()) return;
  }
  acceptance.observe(guess.size(), right);
  guess.clear();
}

}  // namespace brimful::engine
