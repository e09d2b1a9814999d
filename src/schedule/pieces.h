#pragma once

#include <algorithm>
#include <cstddef>

namespace brimful::schedule {

/// How the prompt of a request that runs alone is cut into passes. The cut depends on the prompt's length
/// only, never on how much of it was computed before: a kernel may sum in another order for another number of
/// tokens, so equal passes are what makes equal bits. Pure. Units: tokens.
class Pieces {
 public:
  /// Flash attention of fewer tokens than a tile has takes another path, which is slow and has other bits.
  static constexpr std::size_t kTile = 64;
  /// Tokens of a whole piece, where a pass holds as many. Smaller pieces let more of a prompt be reused;
  /// larger ones read streamed weights less often.
  static constexpr std::size_t kWhole = 128;

  /// `pass`: the most tokens of one pass, at least 1.
  explicit Pieces(std::size_t pass) : pass_(pass), whole_(std::min(kWhole, pass)) {}

  /// Tokens of the piece that begins where `left` tokens of the prompt are left, at least 1. The last piece
  /// takes in what would be less than a tile, where a pass holds that.
  [[nodiscard]] std::size_t next(std::size_t left) const {
    const std::size_t with_rest = std::min(whole_ + kTile - 1, pass_);
    return left <= with_rest ? left : whole_;
  }
  [[nodiscard]] std::size_t whole() const { return whole_; }

  /// Tokens in the whole pieces that a prompt of `prompt` tokens begins with, at most `most` tokens, and not
  /// all of the prompt: the last piece is always left, for its logits.
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
