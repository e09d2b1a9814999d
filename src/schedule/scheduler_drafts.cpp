// The part of Scheduler that decodes a request with drafts. See docs/design-speculation.md.

#include <algorithm>
#include <span>
#include <utility>

#include "schedule/scheduler.h"
#include "schedule/sequence.h"

namespace brimful::schedule {

/// The sequence whose next token is decoded with a draft; null when there is none. It is the only one in the
/// pass. A repeatable request must also run alone: only then its tokens lie in the context's first cells, in
/// order, where a pass of several tokens gives the bits of several passes of one.
Sequence* Scheduler::drafts_for() {
  if (!speculation_ || running_.size() != 1) return nullptr;
  Sequence& sequence = *running_.begin()->second;
  const bool may = sequence.decodes() && (sequence.alone || !sequence.request.repeatable);
  const bool only = std::ranges::all_of(prefixes_, [](const auto& prefix) { return prefix->complete(); });
  return may && only ? &sequence : nullptr;
}

/// Drafts tokens that may follow the newest one, which is not computed yet.
Result<std::vector<llama_token>> Scheduler::draft_for(Sequence& sequence) {
  if (std::exchange(drafting_, &sequence) != &sequence) speculation_->begin();
  const std::size_t cells = cells_.free() + sequence.held() - sequence.tokens.size();
  const std::size_t most = std::min({engine_.room_for_draft(sequence.computed), sequence.left() - 1, cells});
  const llama_token newest = sequence.tokens.back();
  sequence.tokens.pop_back();
  auto draft = speculation_->draft(sequence.tokens, newest, most);
  sequence.tokens.push_back(newest);
  if (draft) draft->resize(engine_.draft_within(draft->size()));
  return draft;
}

/// Computes the newest token of the sequence, and drafted tokens behind it, in one pass. Then it writes as
/// many tokens as the pass has computed right. Errors: those of Engine::verify(), of Engine::keep_verified()
/// and of the draft model; nothing is lost then.
Status Scheduler::decode_with_draft(Sequence& sequence) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration time) { return std::chrono::duration<double>(time).count(); };
  const auto begin = Clock::now();
  BRIMFUL_TRY(const std::vector<llama_token> draft, draft_for(sequence));
  const auto drafted = Clock::now();
  statistics_.draft_seconds += seconds(drafted - begin);

  engine_.keep_hidden_states(false);
  const auto stalled = engine_.pass_statistics().stalled;
  Pass pass(static_cast<std::uint32_t>(1 + draft.size()));
  pass.add_draft(sequence, draft);
  const Status decoded = draft.empty() ? engine_.decode(pass.batch()) : engine_.verify(pass.batch());
  if (!decoded) {
    begin_again();
    return decoded;
  }
  const double took = seconds(Clock::now() - drafted);
  speculation_->pass_took(1 + draft.size(), took,
                          std::chrono::duration<double>(engine_.pass_statistics().stalled - stalled).count());
  ++statistics_.passes;
  ++statistics_.parts;
  ++statistics_.decodes.passes;
  statistics_.seconds += took;
  statistics_.decodes.seconds += took;
  statistics_.answer_seconds += took;
  statistics_.drafted += draft.size();
  sequence.answer.times.drafted += draft.size();
  sequence.count_pass(std::chrono::duration<double>(took));
  statistics_.most_sequences = std::max(statistics_.most_sequences, 1U);

  std::size_t right = 0;
  for (;; ++right) {
    ++sequence.computed;
    ++statistics_.decodes.tokens;
    write(sequence, static_cast<std::int32_t>(right));
    if (sequence.ended) break;
    if (right == draft.size() || draft[right] != sequence.tokens.back()) break;
    ++statistics_.accepted;
    ++sequence.answer.times.accepted;
  }
  Status kept = draft.empty() ? Status{} : engine_.keep_verified(right + 1);
  if (!sequence.ended) forget_drafts(sequence);
  if (kept && !sequence.ended) kept = tell_drafter(sequence, right + 1);
  remove_ended();
  if (!kept) begin_again();
  return kept;
}

/// Tells the drafter of the newest `count` tokens that are computed.
Status Scheduler::tell_drafter(const Sequence& sequence, std::size_t count) {
  const auto begin = std::chrono::steady_clock::now();
  const std::size_t position = sequence.computed - count;
  const Status told = speculation_->computed(std::span(sequence.tokens).subspan(position, count), position);
  statistics_.draft_seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return told;
}

/// Removes the drafted tokens from the context that are not part of the text.
void Scheduler::forget_drafts(const Sequence& sequence) {
  if (!sequence.seq_id) return;
  llama_memory_t const memory = llama_get_memory(engine_.context());
  const auto end = static_cast<llama_pos>(sequence.computed);
  if (speculation_ && llama_memory_seq_pos_max(memory, *sequence.seq_id) >= end)
    llama_memory_seq_rm(memory, *sequence.seq_id, end, -1);
}

}  // namespace brimful::schedule
