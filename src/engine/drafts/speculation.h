#pragma once

#include <llama.h>

#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "engine/drafts/draft_length.h"

namespace brimful::engine {

class DraftModel;

/// Decides before each pass what is drafted, and how much of it: docs/design-speculation.md.
/// It learns from every token of the text and every pass. Which tokens are written never depends on it.
/// Threading: as Engine.
class Speculation {
 public:
  struct Options {
    std::size_t longest = 0;      ///< draft, in tokens
    bool ngrams = false;          ///< draft from the text itself
    DraftModel* model = nullptr;  ///< outlives this; null: none
    bool always = false;          ///< draft as much as can be, even where it does not pay
  };
  explicit Speculation(Options options) : options_(options) {}

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
    std::uint16_t match = 0;  // tokens that stood there before; 0: a model's
    Acceptance acceptance;
    std::vector<llama_token> guess;  // being compared
    std::size_t right = 0;           // tokens of it that came true

    void expect(const std::vector<llama_token>& tokens);
    void compare(llama_token id);
  };
  struct Candidate {
    std::vector<llama_token> tokens;
    DraftLength length;
  };

  [[nodiscard]] Candidate from_ngrams(const std::vector<llama_token>& text, llama_token last,
                                      std::size_t most);
  [[nodiscard]] DraftLength ngram_length(const Acceptance& acceptance, std::size_t most);
  [[nodiscard]] DraftLength model_length(std::size_t most);

  const Options options_;
  PassTime pass_time_;
  // The longer the match, the more likely the text goes on in the same way: the longest one is used.
  std::array<Source, 4> ngrams_{{{12, {}, {}, 0}, {6, {}, {}, 0}, {3, {}, {}, 0}, {2, {}, {}, 0}}};
  unsigned withheld_ = 0;  // drafts not used because passes of several tokens were dear

  Source model_;
  double model_seconds_ = 0;  // for a drafted token
  unsigned pause_ = 0;        // passes before the model is tried again
  unsigned next_pause_ = kFirstPause;
  static constexpr unsigned kFirstPause = 16;
  static constexpr unsigned kLongestPause = 256;
};

}  // namespace brimful::engine
