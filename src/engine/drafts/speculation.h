#pragma once

#include <llama.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/drafts/draft_length.h"

namespace brimful::engine {

class Drafter;

/// Decides before each pass which tokens are drafted, and how many (docs/design-speculation.md). It learns
/// from every token of the text and from every pass. The generated tokens never depend on it. Threading: as
/// Engine.
class Speculation {
 public:
  struct Options {
    /// The largest number of tokens in a draft; 0: there are no drafts.
    std::size_t longest = 0;
    /// True: drafts are taken from the text itself.
    bool ngrams = false;
    /// Outlives this; null: there is none.
    Drafter* drafter = nullptr;
    /// True: drafts are as long as possible, even when they do not pay.
    bool always = false;
  };
  explicit Speculation(Options options) : options_(options) {}

  /// Starts another text. Older drafts are not compared with it.
  void begin();

  /// Drafts tokens that may follow `last`, which follows `text`. Returns at most `most` tokens, and none when
  /// no draft pays. Errors: those of Drafter::draft.
  [[nodiscard]] Result<std::vector<llama_token>> draft(const std::vector<llama_token>& text, llama_token last,
                                                       std::size_t most);

  /// Must be called with each token of the generated text, drafted or not.
  void wrote(llama_token id);

  /// Must be called after each pass, as Drafter::computed().
  [[nodiscard]] Status computed(std::span<const llama_token> tokens, std::size_t position);

  /// Must be called after each pass, with its number of tokens. `stalled`: the part of `seconds` in which it
  /// waited for the disk.
  void pass_took(std::size_t tokens, double seconds, double stalled) {
    pass_time_.observe(tokens, seconds, stalled);
  }

 private:
  /// One source of drafts, and how often they are right. Its drafts are compared with the text even if they
  /// are not used.
  struct Source {
    std::uint16_t match = 0;  // number of tokens that must match before the draft; 0: the drafter
    Acceptance acceptance;
    std::vector<llama_token> guess;  // the draft that is being compared with the text
    std::size_t right = 0;           // number of its tokens that were right so far

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
  [[nodiscard]] DraftLength drafter_length(std::size_t most);

  const Options options_;
  PassTime pass_time_;
  // The longer the match, the more likely the text goes on in the same way: the longest one is used.
  std::array<Source, 4> ngrams_{{{12, {}, {}, 0}, {6, {}, {}, 0}, {3, {}, {}, 0}, {2, {}, {}, 0}}};
  unsigned withheld_ = 0;  // drafts that were not used because passes of several tokens take too long

  Source drafted_;
  double drafted_seconds_ = 0;  // for each drafted token
  unsigned pause_ = 0;          // passes until the drafter is tried again
  unsigned next_pause_ = kFirstPause;
  static constexpr unsigned kFirstPause = 16;
  static constexpr unsigned kLongestPause = 256;
};

}  // namespace brimful::engine
