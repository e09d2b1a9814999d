#include "engine/drafts/draft_length.h"

#include <algorithm>

namespace brimful::engine {
namespace {

// The last ten drafts or so decide, because a text may repeat itself in one paragraph and not in the next.
constexpr double kMemory = 0.9;
// A position that was seldom reached counts like the average of all positions. This number of tries outweighs
// that.
constexpr double kPrior = 2;
constexpr double kNewest = 0.25;  // the weight of the newest pass
constexpr double kOutlier = 2;    // a pass counts for at most this multiple of the expected duration

double blend(double known, double observed) {
  if (known <= 0) return observed;
  return known + kNewest * (std::min(observed, kOutlier * known) - known);
}

}  // namespace

void Acceptance::add(Count& count, bool hit) {
  count.tries = kMemory * count.tries + 1;
  count.hits = kMemory * count.hits + (hit ? 1 : 0);
}

void Acceptance::observe(std::size_t drafted, std::size_t right) {
  // Nothing is known about the tokens behind the first wrong one.
  const std::size_t judged = std::min(right + 1, drafted);
  if (positions_.size() < judged) positions_.resize(judged);
  for (std::size_t i = 0; i < judged; ++i) {
    add(positions_[i], i < right);
    add(all_, i < right);
  }
}

double Acceptance::rate(std::size_t position) const {
  const double usual = (all_.hits + 1) / (all_.tries + 2);
  const Count count = position < positions_.size() ? positions_[position] : Count{};
  return (count.hits + kPrior * usual) / (count.tries + kPrior);
}

void PassTime::Line::observe(std::size_t tokens, double seconds) {
  if (tokens == 1 || one <= 0) {
    one = blend(one, seconds);
    return;
  }
  const double observed = (seconds / one - 1) / (static_cast<double>(tokens) - 1);
  more += kNewest * (std::clamp(observed, 0.0, kOutlier) - more);
}

void PassTime::observe(std::size_t tokens, double seconds, double stalled) {
  // A smaller share of a pass than this does not make the disk the slower side.
  constexpr double kWaits = 0.05;
  compute_.observe(tokens, std::max(seconds - stalled, 1e-9));
  if (stalled > kWaits * seconds) {
    disk_.observe(tokens, seconds);
  } else if (disk_.seconds(tokens) > seconds) {
    disk_.one = std::min(disk_.one, seconds);
  }
}

double PassTime::seconds(std::size_t tokens) const {
  return std::max(disk_.seconds(tokens), compute_.seconds(tokens));
}

PassTime PassTime::hopeful() const {
  PassTime out = *this;
  out.compute_.more = std::min(compute_.more, kHopefulShare);
  out.disk_.more = 0;
  return out;
}

DraftLength best_draft_length(const Acceptance& acceptance, const PassTime& pass, double draft_seconds,
                              std::size_t most) {
  DraftLength best{0, 1 / pass.seconds(1)};
  double expected = 1;  // expected number of tokens that the pass gives
  double reached = 1;   // probability that all earlier tokens were right
  for (std::size_t n = 1; n <= most; ++n) {
    reached *= acceptance.rate(n - 1);
    expected += reached;
    const double rate = expected / (pass.seconds(n + 1) + draft_seconds * static_cast<double>(n));
    if (rate > best.tokens_per_second) best = {n, rate};
  }
  return best;
}

}  // namespace brimful::engine
