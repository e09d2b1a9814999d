// The part of Scheduler that decides which requests run, in which cells, and which texts share cells. See
// docs/design-batch.md.

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "engine/sampler.h"
#include "foreign/foreign_limits.h"
#include "schedule/scheduler.h"
#include "schedule/sequence.h"

namespace brimful::schedule {
namespace {

// Number of cells that are reserved ahead of the generated tokens. Preemption is rare then, and few cells lie
// idle.
constexpr std::size_t kStretch = 64;

}  // namespace

/// Recurrent states and the cells of a sliding window can be shared only as a whole.
bool Scheduler::can_share_parts(const llama_model* model) {
  return !llama_model_is_recurrent(model) && !llama_model_is_hybrid(model) && llama_model_n_swa(model) == 0;
}

/// Requires: a sequence id is free.
llama_seq_id Scheduler::take_free_seq_id() {
  const llama_seq_id seq_id = free_seq_ids_.back();
  free_seq_ids_.pop_back();
  return seq_id;
}

/// Frees a sequence id, and removes its cells from the context.
void Scheduler::leave_seq_id(std::optional<llama_seq_id>& seq_id) {
  if (!seq_id) return;
  llama_memory_seq_rm(llama_get_memory(engine_.context()), *seq_id, -1, -1);
  free_seq_ids_.push_back(*seq_id);
  seq_id.reset();
}

/// Frees everything that the sequence holds of the context.
void Scheduler::release(Sequence& sequence) {
  leave_seq_id(sequence.seq_id);
  sequence.cells = {};
  sequence.before.reset();
}

void Scheduler::admit() {
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const QueueKey key = at->first;
    const Admission admission = admit(key, *at->second);
    if (admission == Admission::kNoRoom) return;
    if (admission == Admission::kRuns) {
      if (at->second->ended) {
        waiting_.erase(at);
      } else {
        running_.insert(waiting_.extract(at));
      }
    }
    at = waiting_.upper_bound(key);  // sequences that were preempted for it are waiting now, too
  }
}

Scheduler::Admission Scheduler::admit(const QueueKey& key, Sequence& sequence) {
  while (runs_one_by_one() && !running_.empty()) {
    if (!preempt_for(sequence)) return Admission::kNoRoom;
  }
  const Admission admission = !sequence.preempted ? start(key, sequence)
                              : resume(sequence)  ? Admission::kRuns
                                                  : Admission::kNoRoom;
  if (admission == Admission::kRuns) return admission;
  release(sequence);
  sequence.computed = sequence.preempted ? sequence.computed : 0;
  return admission;
}

bool Scheduler::resume(Sequence& sequence) {
  const bool alone = sequence.alone && running_.empty();
  if (alone) empty_context();  // It is restored to the first cells, where it was.
  if (!take_seq_id(sequence) || !reserve(sequence, sequence.tokens.size() + sequence.stretch(kStretch)))
    return false;
  if (!sequence.preempted->restore(engine_.context(), *sequence.seq_id)) {
    llama_memory_seq_rm(llama_get_memory(engine_.context()), *sequence.seq_id, -1, -1);
    sequence.computed = 0;  // the tokens are all there: they are computed again
  }
  sequence.preempted.reset();
  sequence.alone = alone;
  if (!alone) sequence.repeatable = 0;
  return true;
}

Scheduler::Admission Scheduler::start(const QueueKey& key, Sequence& sequence) {
  if (!grammar_fits(sequence)) return Admission::kLater;
  sequence.alone = begins_alone(sequence);
  if (sequence.alone) {
    take_over_prefix(sequence);
    if (!sequence.seq_id && !take_seq_id(sequence)) return Admission::kNoRoom;
  } else {
    if (source_for(key, sequence).later) return Admission::kLater;
    if (!take_seq_id(sequence)) return Admission::kNoRoom;
    begin_with(source_for(key, sequence), sequence);  // making room may have dropped the first source
  }
  const std::size_t shared = sequence.computed;
  if (!reserve(sequence, sequence.tokens.size() - shared + sequence.stretch(kStretch)))
    return Admission::kNoRoom;
  if (sequence.sampler == nullptr && !sequence.request.embed) {
    auto sampler = engine::make_sampler(engine_, sequence.request.sampling);
    if (!sampler) {
      end(sequence, std::unexpected(sampler.error()));
      return Admission::kRuns;
    }
    sequence.grammar_memory = (*sampler)->grammar_memory();
    if (!grammar_fits(sequence)) return Admission::kLater;
    sequence.sampler = std::move(*sampler);
    sequence.sampler->share_time();
    for (const llama_token id : sequence.tokens) sequence.sampler->accept_prompt(id);
  }
  sequence.answer.prompt_shared = std::min(shared, sequence.prompt_tokens);
  statistics_.shared_tokens += shared;
  return Admission::kRuns;
}

/// Copies the first tokens of the source, if there is one, to the sequence, which has a sequence id.
void Scheduler::begin_with(const Source& source, Sequence& sequence) {
  sequence.repeatable = 0;
  if (source.text == nullptr) return;
  sequence.repeatable = std::min(source.text->repeatable, source.count / pieces_.whole() * pieces_.whole());
  // From here on the cells belong to this sequence, too, even if the source is dropped.
  sequence.before = source.text->share(source.count);
  sequence.computed = source.count;
  llama_memory_seq_cp(llama_get_memory(engine_.context()), *source.text->seq_id, *sequence.seq_id, -1,
                      shares_parts_ ? static_cast<llama_pos>(source.count) : -1);
}

/// Whether the grammar of this sequence may be made now. All grammars together may hold as many bytes as one
/// grammar is allowed. A grammar that is the only one always fits: its fence has limited it already.
bool Scheduler::grammar_fits(const Sequence& sequence) const {
  if (sequence.sampler != nullptr || sequence.grammar_memory == Bytes{}) return true;
  Bytes held;
  for (const Sequences* const sequences : {&waiting_, &running_}) {
    for (const auto& [key, other] : *sequences) {
      if (other->sampler != nullptr) held += other->sampler->grammar_memory();
    }
  }
  return held == Bytes{} || held + sequence.grammar_memory <= foreign::foreign_limits().sampling.bytes;
}

bool Scheduler::take_seq_id(Sequence& sequence) {
  while (running_.size() >= most_running_) {
    if (!preempt_for(sequence)) return false;
  }
  while (free_seq_ids_.empty()) {
    if (!make_room(sequence)) return false;
  }
  sequence.seq_id = take_free_seq_id();
  return true;
}

/// Whether a request that starts now runs alone, so that its passes must be those of an empty context.
bool Scheduler::begins_alone(const Sequence& sequence) const {
  if (sequence.request.embed || !running_.empty()) return false;
  return runs_one_by_one() || (sequence.request.repeatable && waiting_.size() == 1);
}

/// Prepares the context for a request that runs alone, as if the request had just computed the first tokens
/// of its prompt in an empty context. The sequence takes over the cells and the sequence id of the text that
/// has the most of these tokens. They are the context's first cells, because that text ran alone, too.
/// Everything else is removed, so that the next tokens take the cells that follow, as in an empty context.
/// Requires: no sequence runs.
void Scheduler::take_over_prefix(Sequence& sequence) {
  sequence.repeatable = 0;
  Prefix* best = nullptr;
  std::size_t count = 0;
  for (const auto& prefix : prefixes_) {
    const std::size_t alike = prefix->alike(sequence.tokens);
    const std::size_t usable =
        company_ == Company::kConversation ? alike
        : shares_parts_ ? pieces_.whole_pieces(sequence.prompt_tokens, std::min(alike, prefix->repeatable))
                        : 0;
    if (usable <= count) continue;
    count = usable;
    best = prefix.get();
  }
  // A recurrent state cannot be cut back.
  const bool fits =
      best != nullptr &&
      (best->computed == count || llama_memory_seq_rm(llama_get_memory(engine_.context()), *best->seq_id,
                                                      static_cast<llama_pos>(count), -1));
  if (!fits) return empty_context();
  sequence.seq_id = std::exchange(best->seq_id, std::nullopt);
  sequence.before = best->share(count);
  sequence.computed = count;
  if (company_ != Company::kConversation) sequence.repeatable = count;
  for (const auto& prefix : prefixes_) leave_seq_id(prefix->seq_id);
  prefixes_.clear();
}

/// Removes all texts that have ended. The next tokens take the context's first cells. Requires: no sequence
/// runs.
void Scheduler::empty_context() {
  while (drop_prefix(Drop::kAny)) {
  }
  llama_memory_clear(llama_get_memory(engine_.context()), false);
}

/// Reserves `count` cells for the sequence, in addition to those that it shares, but never more than the
/// cache has. Makes room if necessary. Returns false when there are too few cells.
bool Scheduler::reserve(Sequence& sequence, std::size_t count) {
  const std::size_t most = cells_.capacity() - sequence.held();
  const auto wanted = static_cast<std::uint32_t>(std::min(count, most));
  // No prefix is dropped for a sequence that has to wait anyway.
  if (cells_.capacity() - cells_in_use(sequence) < wanted && !preempt_for(sequence)) return false;
  for (;;) {
    if (auto cells = cells_.reserve(wanted)) {
      sequence.cells = std::move(*cells);
      return true;
    }
    if (!make_room(sequence)) return false;
  }
}

/// Number of cells that `sequence` and all running sequences hold. The others would be free if all prefixes
/// were dropped.
std::size_t Scheduler::cells_in_use(const Sequence& sequence) const {
  std::size_t count = 0;
  std::unordered_set<const KvCells::SharedPrefix*> counted;
  const auto add = [&](const Sequence& user) {
    count += user.cells.count();
    for (const KvCells::SharedPrefix* link = user.before.get(); link != nullptr; link = link->before.get()) {
      if (counted.insert(link).second) count += link->cells.count();
    }
  };
  add(sequence);
  for (const auto& [key, running] : running_) add(*running);
  return count;
}

/// Frees cells or a sequence id for `for_whom`: drops a prefix, or preempts a sequence of lower priority.
/// Returns false when nothing can be freed.
bool Scheduler::make_room(const Sequence& for_whom) {
  return drop_prefix(Drop::kUnwanted) || preempt_for(for_whom) ||
         (running_.empty() && drop_prefix(Drop::kComplete));
}

/// Preempts the last running sequence, if `sequence` is interactive and the running one is not. Returns
/// whether it did.
bool Scheduler::preempt_for(const Sequence& sequence) {
  if (running_.empty() || sequence.request.priority != Priority::kInteractive) return false;
  const auto last = std::prev(running_.end());
  if (last->first.priority == Priority::kInteractive) return false;
  preempt(last);
  return true;
}

/// Reserves more cells for the sequences that have used all of theirs. When there are too few, it preempts
/// the last sequences.
void Scheduler::grow() {
  for (auto at = running_.begin(); at != running_.end();) {
    Sequence& sequence = *at->second;
    const bool full = sequence.needs_cells();
    if (!full || sequence.cells.extend(sequence.stretch(kStretch)) || sequence.cells.extend(1)) {
      ++at;
      continue;
    }
    if (drop_prefix(Drop::kUnwanted)) continue;
    const auto last = std::prev(running_.end());
    if (last != at) {
      preempt(last);
      continue;
    }
    if (drop_prefix(Drop::kAny)) continue;
    if (running_.size() > 1) {
      preempt(at);
    } else {
      end(sequence, engine::StopReason::kContextFull);
    }
    break;  // `at` was the last sequence
  }
}

/// Saves the sequence in a file, and puts it back into the queue. When the file cannot be written, for
/// example on a full disk, the sequence is computed again later: all its tokens are known.
void Scheduler::preempt(Sequences::iterator at) {
  Sequence& sequence = *at->second;
  if (sequence.computed > 0) {
    auto saved = engine::SavedSequence::save(engine_.context(), *sequence.seq_id);
    if (saved) {
      sequence.preempted.emplace(std::move(*saved));
    } else {
      sequence.computed = 0;
    }
  }
  release(sequence);
  ++sequence.answer.preempted;
  ++statistics_.preempted;
  waiting_.insert(running_.extract(at));
}

void Scheduler::evict() {
  while (!running_.empty()) preempt(std::prev(running_.end()));
  while (drop_prefix(Drop::kAny)) {
  }
}

// --- Shared prefixes ---

/// The text with the longest common beginning with the prompt.
Scheduler::Source Scheduler::source_for(const QueueKey& key, const Sequence& sequence) {
  if (!shares_parts_) return frozen_for(sequence);
  Source best;
  Prefix* remembered = nullptr;
  for (const auto& prefix : prefixes_) {
    const std::size_t alike = prefix->alike(sequence.tokens);
    if (alike <= best.count) continue;
    best = {prefix.get(), alike};
    remembered = prefix.get();
  }
  std::size_t soon = 0;
  for (const auto& [other, running] : running_) {
    const std::size_t alike = running->alike(sequence.tokens);
    if (other.priority <= key.priority) soon = std::max(soon, alike);
    if (std::min(alike, running->computed) <= best.count) continue;
    best = {running.get(), std::min(alike, running->computed)};
    remembered = nullptr;
  }
  if (soon >= best.count + kWorthSharing) return {.later = true};
  if (best.count < kWorthSharing) return {};
  if (remembered != nullptr) remembered->used = ++used_;
  return best;
}

/// The longest prefix that the prompt begins with. When there is none, and waiting prompts have a common
/// beginning with this one, a new prefix is made.
Scheduler::Source Scheduler::frozen_for(const Sequence& sequence) {
  Prefix* best = nullptr;
  for (const auto& prefix : prefixes_) {
    const bool longer = best == nullptr || prefix->tokens.size() > best->tokens.size();
    if (longer && prefix->begins(sequence.tokens)) best = prefix.get();
  }
  if (best == nullptr) {
    const std::size_t length = common_prefix(sequence, waiting_);
    if (length == 0) return {};
    while ((free_seq_ids_.size() < 2 || cells_.free() < length) && drop_prefix(Drop::kUnwanted)) {
    }
    if (free_seq_ids_.size() < 2 || cells_.free() < length) return {};
    best = prefixes_.emplace_back(std::make_unique<Prefix>()).get();
    best->tokens.assign(sequence.tokens.begin(),
                        sequence.tokens.begin() + static_cast<std::ptrdiff_t>(length));
    best->seq_id = take_free_seq_id();
    best->cells = std::move(*cells_.reserve(static_cast<std::uint32_t>(length)));
  }
  best->priority = std::min(best->priority, sequence.request.priority);
  best->used = ++used_;
  if (!best->complete()) return {.later = true};
  return {best, best->tokens.size()};
}

/// How many first tokens of an ended text may begin another prompt. For an interactive request these are all
/// computed tokens, because the next question of the conversation begins with them. For other requests, these
/// are the tokens in common with a waiting prompt.
std::size_t Scheduler::worth_keeping(const Sequence& sequence) const {
  if (sequence.request.embed || !sequence.seq_id) return 0;
  if (sequence.request.priority == Priority::kInteractive) return sequence.computed;
  std::size_t most = 0;
  if (!shares_parts_) return most;
  for (const auto& [key, other] : waiting_) most = std::max(most, sequence.alike(other->tokens));
  return std::min(most, sequence.computed);
}

/// Keeps an ended text as a prefix, if that is worth it.
void Scheduler::remember(Sequence& sequence) {
  const std::size_t count = worth_keeping(sequence);
  llama_memory_t const memory = llama_get_memory(engine_.context());
  if (count < kWorthSharing ||
      llama_memory_seq_pos_max(memory, *sequence.seq_id) + 1 != static_cast<llama_pos>(sequence.computed))
    return;
  auto prefix = std::make_unique<Prefix>();
  prefix->tokens.assign(sequence.tokens.begin(),
                        sequence.tokens.begin() + static_cast<std::ptrdiff_t>(count));
  // The new prefix replaces older ones that it begins with.
  std::erase_if(prefixes_, [&](const auto& other) {
    const std::size_t length = other->tokens.size();
    if (!shares_parts_ || length > count ||
        !std::ranges::equal(other->tokens, std::span(prefix->tokens).first(length)))
      return false;
    leave_seq_id(other->seq_id);
    return true;
  });
  prefix->computed = count;
  prefix->repeatable = std::min(sequence.repeatable, count / pieces_.whole() * pieces_.whole());
  prefix->before = sequence.share(count);
  prefix->seq_id = std::exchange(sequence.seq_id, std::nullopt);
  prefix->used = ++used_;
  if (count < sequence.computed)
    llama_memory_seq_rm(memory, *prefix->seq_id, static_cast<llama_pos>(count), -1);
  prefixes_.push_back(std::move(prefix));
}

/// Whether a waiting request begins with this prefix.
bool Scheduler::is_wanted(const Prefix& prefix) const {
  return std::ranges::any_of(waiting_, [&](const auto& entry) {
    return entry.second->computed == 0 && prefix.begins(entry.second->tokens);
  });
}

/// Drops the prefix that was not used for the longest time. Returns false when there is none to drop.
bool Scheduler::drop_prefix(Drop which) {
  auto oldest = prefixes_.end();
  for (auto at = prefixes_.begin(); at != prefixes_.end(); ++at) {
    if (which == Drop::kUnwanted && is_wanted(**at)) continue;
    if (which == Drop::kComplete && !(*at)->complete()) continue;  // it will be complete soon
    if (oldest == prefixes_.end() || (*at)->used < (*oldest)->used) oldest = at;
  }
  if (oldest == prefixes_.end()) return false;
  leave_seq_id((*oldest)->seq_id);
  prefixes_.erase(oldest);
  return true;
}

}  // namespace brimful::schedule
