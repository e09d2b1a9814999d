#pragma once

#include <cstddef>
#include <vector>

namespace brimful::engine {

/// How often the i-th token of a draft was right, given that those before it were. What was observed lately
/// counts more. Pure.
class Acceptance {
 public:
  /// A draft of `drafted` tokens came true for `right` of them, and then no more.
  void observe(std::size_t drafted, std::size_t right);

  /// 0..1, of the token at `position` (from 0).
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

/// What a pass takes by its number of tokens, learned from passes. It waits for the disk, or computes:
/// max(D (1 + e (n - 1)), C (1 + s (n - 1))). D and C are those of one token; s is the share of C that one
/// more token in the same pass adds, e the share of D: 0, but for experts, of which more are read. Pure.
class PassTime {
 public:
  /// `stalled`: how much of `seconds` the compute waited for the disk.
  void observe(std::size_t tokens, double seconds, double stalled);

  /// Whether a pass was observed.
  [[nodiscard]] bool known() const { return compute_.one > 0; }
  /// Requires: known().
  [[nodiscard]] double seconds(std::size_t tokens) const;
  /// As if no pass of several tokens had been observed yet, where that is better.
  [[nodiscard]] PassTime hopeful() const;

 private:
  struct Line {
    double one = 0;   // seconds; 0: not known
    double more = 0;  // of `one`, for each more token

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
  std::size_t tokens = 0;        ///< 0: no draft pays
  double tokens_per_second = 0;  ///< expected
};

/// The length with the most expected tokens per second, when each drafted token takes `draft_seconds`.
/// Requires: pass.known(). Pure.
[[nodiscard]] DraftLength best_draft_length(const Acceptance& acceptance, const PassTime& pass,
                                            double draft_seconds, std::size_t most);

}  // namespace brimful::engine
