#pragma once

#include <llama.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/draft_length.h"

namespace strata::engine {

class Engine;

/// Decides before each pass what is drafted, and how much of it: docs/design-speculation.md.
/// It learns from every token of the text and every pass. Which tokens are written never depends on it.
/// Threading: as Engine.
class Speculation {
 public:
  /// `engine` was started, and outlives it. `ngrams`: drafts from the text itself.
  Speculation(Engine& engine, bool ngrams) : engine_(engine), use_ngrams_(ngrams) {}

  /// Another text begins: nothing that was drafted is compared with it.
  void begin();

  /// What may follow `last`, which follows `text`: at most `most` tokens, none when no draft pays.
  /// Errors: those of DraftModel::draft.
  [[nodiscard]] Result<std::vector<llama_token>> draft(const std::vector<llama_token>& text, llama_token last,
                                                       std::size_t most);

  /// The token that the text went on with, drafted or not.
  void wrote(llama_token id);

  /// A pass of so many tokens ended. `stalled`: how much of it was spent waiting for the disk.
  void pass_took(std::size_t tokens, double seconds, double stalled) {
    pass_time_.observe(tokens, seconds, stalled);
  }

 private:
  /// One kind of drafts, and how often they come true. Compared with the text whether they are used or not.
  struct Source {
    Acceptance acceptance;
    std::vector<llama_token> guess;  // being compared
    std::size_t right = 0;           // tokens of it that came true

    void expect(const std::vector<llama_token>& tokens);
    void compare(llama_token id);
  };

  [[nodiscard]] std::vector<llama_token> from_ngrams(const std::vector<llama_token>& text, llama_token last);
  [[nodiscard]] DraftLength ngram_length(std::size_t most);
  [[nodiscard]] std::size_t model_length(std::size_t most, double tokens_per_second);

  Engine& engine_;
  const bool use_ngrams_;
  PassTime pass_time_;
  Source ngrams_;
  unsigned withheld_ = 0;  // drafts not used because passes of several tokens were dear

  Source model_;
  double model_seconds_ = 0;  // for a drafted token
  unsigned pause_ = 0;        // passes before the model is tried again
  unsigned next_pause_ = kFirstPause;
  static constexpr unsigned kFirstPause = 16;
  static constexpr unsigned kLongestPause = 256;
};

}  // namespace strata::engine
