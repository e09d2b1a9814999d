#pragma once

#include <algorithm>
#include <cstddef>

namespace brimful::schedule {

/// Cuts the prompt of a request that runs alone into pieces, one for each pass. The cut depends only on the
/// length of the prompt, never on how many of its tokens were computed before: a kernel may sum in another
/// order when a pass has another number of tokens, so only equal passes give equal bits. Pure. Units: tokens.
class Pieces {
 public:
  /// Number of KV cells in a tile of ggml's flash attention on the CPU. With fewer tokens than this,
  /// attention takes another path, which is slow and gives other bits.
  static constexpr std::size_t kTile = 64;
  /// Tokens of a whole piece; a pass that holds fewer makes the piece smaller. Smaller pieces let more of a
  /// prompt be reused; larger pieces read streamed weights less often.
  static constexpr std::size_t kWhole = 128;

  /// `pass`: the largest number of tokens in one pass, at least 1. `whole`: the number of tokens of a whole
  /// piece, as far as a pass holds it.
  explicit Pieces(std::size_t pass, std::size_t whole = kWhole)
      : pass_(pass), whole_(std::min(whole, pass)) {}

  /// Number of tokens of the next piece, at least 1, when `left` tokens of the prompt are left. When the rest
  /// behind a whole piece would be less than a tile, the last piece includes it, if one pass holds both.
  [[nodiscard]] std::size_t next(std::size_t left) const {
    const std::size_t with_rest = std::min(whole_ + kTile - 1, pass_);
    return left <= with_rest ? left : whole_;
  }
  [[nodiscard]] std::size_t whole() const { return whole_; }

  /// Number of tokens in the whole pieces at the start of a prompt of `prompt` tokens. It is at most `most`,
  /// and it always leaves the last piece, because that piece gives the logits.
  [[nodiscard]] std::size_t whole_pieces(std::size_t prompt, std::size_t most) const {
    std::size_t at = 0;
    while (prompt - at > next(prompt - at) && at + whole_ <= most) at += whole_;
    return at;
  }

 private:
  std::size_t pass_;
  std::size_t whole_;
};

}  // namespace brimful::schedule
