#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/piece_log.h"

namespace brimful::hub {

/// Which connection of a download fetches which pieces. Thread-safe.
class SpanBoard {
 public:
  /// Pieces that one connection fetches with one request, in ascending order. `next` is the one that it
  /// fetches now; another connection may take over the last ones, and `end` falls then.
  struct Span {
    std::size_t next = 0;
    std::size_t end = 0;
  };
  /// The position and number of bytes that a connection has to fetch.
  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };

  /// `log` must outlive this object, and belongs to it meanwhile. `connections` is how many share the work.
  SpanBoard(PieceLog& log, std::size_t connections);

  /// Gives a connection its next pieces: missing ones that nobody fetches, else the second half of the
  /// longest span. Nullptr when there is nothing left to begin, or the download has failed.
  [[nodiscard]] Span* claim();
  /// What is left of a span, from the begin of the piece that is fetched now. Unset when nothing is left.
  [[nodiscard]] std::optional<Range> left(const Span& span) const;
  /// The end of the piece that is fetched now, in bytes of the file.
  [[nodiscard]] std::uint64_t piece_end(const Span& span) const;
  /// Notes that the span's current piece is there, with the hash of what was received. Returns whether the
  /// span goes on. Errors: those of PieceLog::set().
  [[nodiscard]] Result<bool> finish_piece(Span& span, const std::string& hash);

  /// Ends the download with an error; only the first one counts.
  void fail_with(Error error);
  [[nodiscard]] std::optional<Error> error() const;
  [[nodiscard]] bool failed() const;
  /// Whether a piece is there.
  [[nodiscard]] bool has(std::size_t piece) const;

  /// Waits until a piece is finished, the download fails, or the time is over. Returns whether it failed.
  bool wait(std::chrono::milliseconds most) const;
  /// Waits until the download fails, or the time is over. Returns whether it failed.
  bool pause(std::chrono::milliseconds time) const;

 private:
  static constexpr std::size_t kLongestSpan = 32;
  // A shorter span is left to its connection: what is on its way already would be sent in vain.
  static constexpr std::size_t kLeastToShare = 4;

  PieceLog& log_;
  std::size_t longest_ = kLongestSpan;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<bool> claimed_;
  std::vector<std::unique_ptr<Span>> spans_;
  std::optional<Error> error_;
};

}  // namespace brimful::hub
