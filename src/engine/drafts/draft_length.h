#pragma once

#include <cstddef>
#include <vector>

namespace brimful::engine {

/// Estimates how often the i-th token of a draft is right when all tokens before it are right. Newer drafts
/// count more. Pure.
class Acceptance {
 public:
  /// Adds one draft: of its `drafted` tokens, the first `right` ones were right, and the next one was not.
  void observe(std::size_t drafted, std::size_t right);

  /// The estimate for the token at `position` (from 0), in 0..1.
  [[nodiscard]] double rate(std::size_t position) const;

 private:
  struct Count {
    double tries = 0;
    double hits = 0;
  };
  void add(Count& count, bool hit);

  std::vector<Count> positions_;
  Count all_;
};

/// Estimates the duration of a pass from its number of tokens n. It learns from passes. A pass either waits
/// for the disk or computes: max(D (1 + e (n - 1)), C (1 + s (n - 1))). D and C are the durations for one
/// token. s is the share of C that each further token in the same pass adds. e is the share of D; it is 0,
/// except for models with experts, because more tokens read more experts. Pure.
class PassTime {
 public:
  /// Adds one pass. `stalled`: the part of `seconds` in which the computation waited for the disk.
  void observe(std::size_t tokens, double seconds, double stalled);

  /// Whether a pass was observed.
  [[nodiscard]] bool known() const { return compute_.one > 0; }
  /// The estimated duration of a pass of `tokens` tokens. Requires: known().
  [[nodiscard]] double seconds(std::size_t tokens) const;
  /// The estimate without the observed passes of several tokens, if that is the better one.
  [[nodiscard]] PassTime hopeful() const;

 private:
  struct Line {
    double one = 0;   // for one token, in seconds; 0: not known
    double more = 0;  // for each further token, as a share of `one`

    [[nodiscard]] double seconds(std::size_t tokens) const {
      return one * (1 + more * (static_cast<double>(tokens) - 1));
    }
    void observe(std::size_t tokens, double seconds);
  };
  static constexpr double kHopefulShare = 0.5;
  Line disk_;
  Line compute_{0, kHopefulShare};
};

struct DraftLength {
  /// Number of tokens in the draft; 0: no draft pays.
  std::size_t tokens = 0;
  /// The expected rate with this draft.
  double tokens_per_second = 0;
};

/// The draft length with the highest expected rate, at most `most`, when each drafted token takes
/// `draft_seconds`. Requires: pass.known(). Pure.
[[nodiscard]] DraftLength best_draft_length(const Acceptance& acceptance, const PassTime& pass,
                                            double draft_seconds, std::size_t most);

}  // namespace brimful::engine
