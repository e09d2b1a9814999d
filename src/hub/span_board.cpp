#include "hub/span_board.h"

#include <algorithm>
#include <chrono>

namespace brimful::hub {

SpanBoard::SpanBoard(PieceLog& log, std::size_t connections) : log_(log), claimed_(log.pieces()) {
  std::size_t missing = 0;
  for (std::size_t i = 0; i < log.pieces(); ++i) {
    claimed_[i] = !log.hash_of(i).empty();
    missing += claimed_[i] ? 0 : 1;
  }
  longest_ = std::clamp<std::size_t>((missing + connections - 1) / connections, 1, kLongestSpan);
}

SpanBoard::Span* SpanBoard::claim() {
  const std::lock_guard lock(mutex_);
  if (error_) return nullptr;
  const auto first = std::ranges::find(claimed_, false);
  if (first != claimed_.end()) {
    Span span;
    span.next = static_cast<std::size_t>(first - claimed_.begin());
    for (span.end = span.next; span.end < claimed_.size() && !claimed_[span.end]; ++span.end) {
      if (span.end - span.next == longest_) break;
      claimed_[span.end] = true;
    }
    return spans_.emplace_back(std::make_unique<Span>(span)).get();
  }
  const auto longest =
      std::ranges::max_element(spans_, {}, [](const auto& span) { return span->end - span->next; });
  if (longest == spans_.end() || (*longest)->end - (*longest)->next < kLeastToShare) return nullptr;
  Span& slow = **longest;
  const std::size_t middle = slow.end - (slow.end - slow.next) / 2;
  Span half{middle, slow.end};
  slow.end = middle;
  return spans_.emplace_back(std::make_unique<Span>(half)).get();
}

std::optional<SpanBoard::Range> SpanBoard::left(const Span& span) const {
  const std::lock_guard lock(mutex_);
  if (span.next >= span.end) return std::nullopt;
  return Range{log_.begin_of(span.next), log_.begin_of(span.end - 1) + log_.size_of(span.end - 1)};
}

std::uint64_t SpanBoard::piece_end(const Span& span) const {
  const std::lock_guard lock(mutex_);
  return log_.begin_of(span.next) + log_.size_of(span.next);
}

Result<bool> SpanBoard::finish_piece(Span& span, const std::string& hash) {
  const std::lock_guard lock(mutex_);
  BRIMFUL_TRY_VOID(log_.set(span.next, hash));
  ++span.next;
  changed_.notify_all();
  return span.next < span.end;
}

void SpanBoard::fail_with(Error error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  changed_.notify_all();
}

std::optional<Error> SpanBoard::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

bool SpanBoard::failed() const {
  const std::lock_guard lock(mutex_);
  return error_.has_value();
}

bool SpanBoard::has(std::size_t piece) const {
  const std::lock_guard lock(mutex_);
  return !log_.hash_of(piece).empty();
}

bool SpanBoard::wait(std::chrono::milliseconds most) const {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, most);
  return error_.has_value();
}

bool SpanBoard::pause(std::chrono::milliseconds time) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [this] { return error_.has_value(); });
}

}  // namespace brimful::hub
