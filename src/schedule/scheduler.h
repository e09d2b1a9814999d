#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "engine/drafts/speculation.h"
#include "engine/engine.h"
#include "schedule/kv_cells.h"
#include "schedule/pieces.h"
#include "schedule/request.h"

namespace brimful::schedule {

/// Counters since the scheduler was made. Times are in seconds.
struct Statistics {
  std::uint64_t passes = 0;
  /// Number of prompt tokens that were computed.
  std::uint64_t prompt_tokens = 0;
  /// Number of prompt tokens that were not computed, because another text had computed them.
  std::uint64_t shared_tokens = 0;
  /// Number of generated tokens.
  std::uint64_t tokens = 0;
  /// How often a sequence was preempted.
  std::uint64_t preempted = 0;
  /// The largest number of sequences that ran at once.
  std::uint32_t most_sequences = 0;
  /// Duration of all passes.
  double seconds = 0;
  /// Sum over all sequences: the duration of the passes that computed tokens of the sequence's prompt.
  double prompt_seconds = 0;
  /// Sum over all sequences: the duration of the passes that decoded a token of the sequence.
  double answer_seconds = 0;
  /// Number of tokens that were computed as drafts, and of those of them that were right.
  std::uint64_t drafted = 0;
  std::uint64_t accepted = 0;
  /// The time to make drafts. It is not part of `seconds`.
  double draft_seconds = 0;
  /// Sum over all passes: the number of sequences and prefixes in the pass.
  std::uint64_t parts = 0;
  /// Passes that compute one token of each sequence, and from it the next one.
  struct {
    std::uint64_t passes = 0;
    std::uint64_t tokens = 0;
    double seconds = 0;
  } decodes;
};

/// The order in which requests are admitted: by priority, then by arrival. Preemption goes by the reverse
/// order.
struct QueueKey {
  Priority priority;
  std::uint64_t id;  ///< Counts the requests of a scheduler in the order of their arrival.
  auto operator<=>(const QueueKey&) const = default;
};

struct TokenHistory;  // schedule/sequence.h
struct Sequence;
struct Prefix;
class Pass;

/// Continuous batching: computes many requests in one context, as many at once as its KV cells hold. See
/// docs/design-batch.md. Not thread-safe: one thread makes all calls. Lifetime: the engine outlives the
/// scheduler, and nobody else uses the engine's context meanwhile.
class Scheduler {
 public:
  /// How requests share passes. kTogether: each pass computes as many requests as the cells hold. kOneByOne:
  /// a request is computed from its first to its last token before the next one begins, unless a more urgent
  /// one preempts it. Each request, repeatable or not, then gets the tokens that it gets alone.
  /// kConversation: one by one as well, for the turns of one conversation, which should begin to answer soon:
  /// passes over a prompt are as large as they can be, and a prompt begins with all that the context holds of
  /// it, the last answer included. That answer's last bits may differ from those of a prompt. One sequence id
  /// is enough.
  enum class Company { kTogether, kOneByOne, kConversation };
  struct Options {
    /// The largest number of requests that run at once. Shared prefixes take sequence ids of the context in
    /// addition to these.
    std::size_t most_running = SIZE_MAX;
    /// The largest number of tokens of a request and its answer together, even if the context has room for
    /// more. The last generated token is not computed, and does not count.
    std::size_t longest_text = SIZE_MAX;
    Company company = Company::kTogether;
  };
  /// Requires: the engine has started, with ContextOptions::shared_cells. Clears the context. Where the
  /// context has room for drafts (Engine::longest_draft()), a request that is alone in a pass is decoded with
  /// drafts.
  Scheduler(engine::Engine& engine, const Options& options);
  ~Scheduler();

  /// Whether a context of this model can share any number of first tokens between sequences. Recurrent states
  /// and sliding windows can be shared only as a whole.
  [[nodiscard]] static bool can_share_parts(const llama_model* model);

  using Id = std::uint64_t;
  /// The largest number of tokens of a prompt that can be computed.
  [[nodiscard]] std::size_t longest_prompt() const;
  /// Checks whether a prompt of `prompt` tokens can be computed. Errors: kInvalidArgument, with both numbers.
  [[nodiscard]] Status check_length(std::size_t prompt) const;
  /// Puts the request into the queue; step() computes it. Errors: kInvalidArgument when the prompt is empty
  /// or longer than the context. For a model that only embeds: when the prompt is longer than one pass, or
  /// when the request asks for a text.
  [[nodiscard]] Result<Id> submit(Request request, Callbacks callbacks);
  /// Ends the request with StopReason::kCancelled, whether it waits or runs, and calls its on_end. Does
  /// nothing when the request has ended.
  void cancel(Id id);

  /// Admits requests, computes one pass, and passes on what it gave. Blocks for that long. Returns false when
  /// no request runs or waits. Errors: those of Engine::decode; no request is lost then, and step() may be
  /// called again.
  [[nodiscard]] Result<bool> step();

  /// Empties the context: preempts all running requests and drops all shared prefixes. The next step()
  /// restores the requests. By then the engine may have replaced its context by another one of the same size.
  void evict();

  [[nodiscard]] std::size_t running() const { return running_.size(); }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  [[nodiscard]] const Statistics& statistics() const { return statistics_; }
  [[nodiscard]] std::uint32_t free_cells() const { return cells_.free(); }

 private:
  using Sequences = std::map<QueueKey, std::unique_ptr<Sequence>>;

  /// kLater: the request waits for a prefix that is being computed, or until its grammar fits; requests
  /// behind it may be admitted before it. kNoRoom: neither this request nor those behind it are admitted now.
  enum class Admission { kRuns, kLater, kNoRoom };

  void admit();
  [[nodiscard]] Admission admit(const QueueKey& key, Sequence& sequence);
  [[nodiscard]] Admission start(const QueueKey& key, Sequence& sequence);
  [[nodiscard]] bool resume(Sequence& sequence);
  /// A text in the context that a prompt begins with.
  struct Source {
    TokenHistory* text = nullptr;  // null: there is none
    std::size_t count = 0;         // number of tokens that the two have in common
    bool later = false;            // true: waiting is worth it, because more tokens are being computed
  };
  [[nodiscard]] Source source_for(const QueueKey& key, const Sequence& sequence);
  [[nodiscard]] Source frozen_for(const Sequence& sequence);
  [[nodiscard]] bool begins_alone(const Sequence& sequence) const;
  void take_over_prefix(Sequence& sequence);
  void begin_with(const Source& source, Sequence& sequence);
  [[nodiscard]] bool runs_one_by_one() const { return company_ != Company::kTogether; }
  void empty_context();
  [[nodiscard]] std::size_t worth_keeping(const Sequence& sequence) const;
  void remember(Sequence& sequence);
  /// The prefixes that may be dropped. kUnwanted: prefixes that no waiting request begins with. kComplete:
  /// prefixes that are completely computed. kAny: all prefixes.
  enum class Drop { kUnwanted, kComplete, kAny };
  [[nodiscard]] bool drop_prefix(Drop which);
  [[nodiscard]] std::size_t cells_in_use(const Sequence& sequence) const;
  [[nodiscard]] bool is_wanted(const Prefix& prefix) const;
  [[nodiscard]] llama_seq_id take_free_seq_id();
  [[nodiscard]] bool take_seq_id(Sequence& sequence);
  [[nodiscard]] bool grammar_fits(const Sequence& sequence) const;
  [[nodiscard]] bool reserve(Sequence& sequence, std::size_t count);
  [[nodiscard]] bool make_room(const Sequence& for_whom);
  bool preempt_for(const Sequence& sequence);
  void grow();
  void preempt(Sequences::iterator at);
  void leave_seq_id(std::optional<llama_seq_id>& seq_id);
  void release(Sequence& sequence);
  void begin_again();
  void advance(const Pass& pass, std::chrono::duration<double> took);
  void write(Sequence& sequence, std::int32_t output);
  [[nodiscard]] Sequence* drafts_for();
  [[nodiscard]] Status decode_with_draft(Sequence& sequence);
  [[nodiscard]] Result<std::vector<llama_token>> draft_for(Sequence& sequence);
  [[nodiscard]] Status tell_drafter(const Sequence& sequence, std::size_t count);
  void forget_drafts(const Sequence& sequence);
  void embed(Sequence& sequence, std::size_t nth);
  [[nodiscard]] Result<bool> embed_some();
  void end(Sequence& sequence, Result<engine::StopReason> reason);
  void remove_ended();

  engine::Engine& engine_;
  const std::size_t most_running_;
  const std::size_t longest_text_;
  const Company company_;
  const Pieces pieces_;
  // Whether the context can copy the first tokens of a sequence; see can_share_parts().
  const bool shares_parts_;
  KvCells cells_;
  std::vector<llama_seq_id> free_seq_ids_;
  Id next_ = 0;
  Sequences waiting_;
  Sequences running_;
  std::vector<std::unique_ptr<Prefix>> prefixes_;
  std::uint64_t used_ = 0;  // counts how often a prefix was used; orders prefixes by their last use
  Statistics statistics_;
  std::optional<engine::Speculation> speculation_;  // unset: the context has no room for drafts
  const Sequence* drafting_ = nullptr;              // the sequence whose text speculation_ follows
};

}  // namespace brimful::schedule
